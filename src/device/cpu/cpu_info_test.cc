#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/cpu_affinity.h"
#include "tessera/device.h"

namespace tessera {
namespace {

TEST(DetectCpu, DescribesThisMachine) {
  const DeviceInfo cpu = DetectCpu();
  EXPECT_EQ(cpu.kind, DeviceKind::kCpu);
  EXPECT_FALSE(cpu.name.empty());
  EXPECT_FALSE(cpu.arch.empty());
  EXPECT_EQ(cpu.num_units, static_cast<int>(AllowedCores().size()));
  EXPECT_GT(cpu.memory_bytes, 0);
  EXPECT_GE(cpu.l2_bytes, 0);
  EXPECT_LT(cpu.l2_bytes, int64_t{1} << 30);
  const std::set<std::string> unique(cpu.features.begin(), cpu.features.end());
  EXPECT_EQ(unique.size(), cpu.features.size());
  EXPECT_FALSE(cpu.Has("no_such_feature"));
  EXPECT_TRUE(cpu.arch != "aarch64" || cpu.Has("asimd"));
}

TEST(DetectCpu, SaysTheSameTwice) {
  const DeviceInfo first = DetectCpu();
  const DeviceInfo second = DetectCpu();
  EXPECT_EQ(first.name, second.name);
  EXPECT_EQ(first.features, second.features);
  EXPECT_EQ(first.l2_bytes, second.l2_bytes);
}

TEST(DeviceKind, Names) {
  EXPECT_STREQ(ToString(DeviceKind::kCpu), "cpu");
  EXPECT_STREQ(ToString(DeviceKind::kCuda), "cuda");
  EXPECT_STREQ(ToString(DeviceKind::kHip), "hip");
  EXPECT_STREQ(ToString(DeviceKind::kXpu), "xpu");
}

}  // namespace
}  // namespace tessera
