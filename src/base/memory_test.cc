#include "base/memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>

#include "base/control_group.h"

namespace tessera {
namespace {

constexpr int64_t kHuge = AlignedBuffer::kHugePageBytes;

TEST(AlignedBuffer, IsAlignedZeroedAndWritable) {
  for (int64_t bytes : {int64_t{1}, int64_t{63}, int64_t{64}, int64_t{4097}, kHuge - 1, kHuge,
                        kHuge + 1, 3 * kHuge + 12345}) {
    Result<AlignedBuffer> buffer = AlignedBuffer::Allocate(bytes);
    ASSERT_TRUE(buffer.ok()) << bytes;
    EXPECT_EQ(buffer->size(), bytes);
    const int64_t alignment = bytes >= kHuge ? kHuge : AlignedBuffer::kSmallAlignment;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % static_cast<uintptr_t>(alignment), 0u);
    unsigned char* const data = buffer->As<unsigned char>();
    EXPECT_TRUE(std::all_of(data, data + bytes, [](unsigned char c) { return c == 0; })) << bytes;
    std::fill(data, data + bytes, static_cast<unsigned char>(0xff));
  }
}

TEST(AlignedBuffer, EmptyAndImpossible) {
  const AlignedBuffer none;
  EXPECT_EQ(none.data(), nullptr);
  EXPECT_EQ(none.size(), 0);
  const Result<AlignedBuffer> empty = AlignedBuffer::Allocate(0);
  ASSERT_TRUE(empty.ok());
  EXPECT_EQ(empty->size(), 0);
  EXPECT_EQ(AlignedBuffer::Allocate(-1).error().code, ErrorCode::kInvalidArgument);
  for (int64_t bytes : {std::numeric_limits<int64_t>::max(), int64_t{1} << 60}) {
    const Result<AlignedBuffer> refused = AlignedBuffer::Allocate(bytes);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::kOutOfMemory);
    EXPECT_NE(refused.error().message.find(std::to_string(bytes)), std::string::npos);
  }
}

TEST(AlignedBuffer, MovesItsMemory) {
  for (int64_t bytes : {int64_t{100}, 2 * kHuge}) {
    AlignedBuffer first = std::move(AlignedBuffer::Allocate(bytes)).value();
    void* const data = first.data();
    AlignedBuffer second = std::move(first);
    EXPECT_EQ(second.data(), data);
    AlignedBuffer third = std::move(AlignedBuffer::Allocate(kHuge)).value();
    third = std::move(second);
    EXPECT_EQ(third.data(), data);
    EXPECT_EQ(third.size(), bytes);
    AlignedBuffer& same = third;
    third = std::move(same);
    EXPECT_EQ(third.data(), data);
  }
}

TEST(AlignedBuffer, TouchedPagesCountAsResident) {
  constexpr int64_t kBytes = 64 * kHuge;
  AlignedBuffer buffer = std::move(AlignedBuffer::Allocate(kBytes)).value();
  std::fill_n(buffer.As<unsigned char>(), kBytes, static_cast<unsigned char>(1));
  EXPECT_GE(PeakResidentBytes(), kBytes);
}

TEST(Memory, ThisMachineHasSome) {
  EXPECT_GT(TotalMemoryBytes(), 0);
  EXPECT_GT(AvailableMemoryBytes(), 0);
  EXPECT_LE(AvailableMemoryBytes(), TotalMemoryBytes());
}

// A machine made of files in a temporary folder.
class FakeMachine {
 public:
  using Files = std::map<std::string, std::string>;

  explicit FakeMachine(const Files& files) {
    const auto* const test = testing::UnitTest::GetInstance()->current_test_info();
    root_ = std::filesystem::path(testing::TempDir()) / (std::string("tessera_") + test->name());
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
    for (const auto& [path, text] : files) {
      const std::filesystem::path file = root_.string() + path;
      std::filesystem::create_directories(file.parent_path());
      std::ofstream(file) << text;
    }
  }
  ~FakeMachine() { std::filesystem::remove_all(root_); }
  FakeMachine(const FakeMachine&) = delete;
  FakeMachine& operator=(const FakeMachine&) = delete;

  std::string root() const { return root_.string(); }

 private:
  std::filesystem::path root_;
};

constexpr const char* kMeminfo =
    "MemTotal:        8000 kB\nMemFree:         1000 kB\nMemAvailable:    6000 kB\n";

TEST(ControlGroup, NoneAtAll) {
  const FakeMachine machine(FakeMachine::Files{{"/proc/meminfo", kMeminfo}});
  EXPECT_EQ(TotalMemoryBytes(machine.root()), 8000 * 1024);
  EXPECT_EQ(AvailableMemoryBytes(machine.root()), 6000 * 1024);
  EXPECT_EQ(ReadControlGroupCpuQuota(machine.root()), std::nullopt);
}

TEST(ControlGroup, NothingReadable) {
  const FakeMachine machine{FakeMachine::Files()};
  EXPECT_EQ(TotalMemoryBytes(machine.root()), 0);
  EXPECT_EQ(AvailableMemoryBytes(machine.root()), 0);
}

TEST(ControlGroup, Version2TakesTheTightestOfAllLevels) {
  const FakeMachine machine({
      {"/proc/meminfo", kMeminfo},
      {"/proc/self/cgroup", "0::/outer/inner\n"},
      {"/sys/fs/cgroup/outer/inner/memory.max", "max\n"},
      {"/sys/fs/cgroup/outer/inner/memory.current", "500000\n"},
      {"/sys/fs/cgroup/outer/memory.max", "2000000\n"},
      {"/sys/fs/cgroup/outer/memory.current", "1500000\n"},
      {"/sys/fs/cgroup/outer/memory.stat", "anon 1100000\ninactive_file 400000\n"},
      {"/sys/fs/cgroup/outer/inner/cpu.max", "250000 100000\n"},
      {"/sys/fs/cgroup/outer/cpu.max", "max 100000\n"},
  });
  const ControlGroupMemory memory = ReadControlGroupMemory(machine.root());
  EXPECT_EQ(memory.limit_bytes, 2000000);
  EXPECT_EQ(memory.available_bytes, 900000);
  EXPECT_EQ(TotalMemoryBytes(machine.root()), 2000000);
  EXPECT_EQ(AvailableMemoryBytes(machine.root()), 900000);
  EXPECT_EQ(ReadControlGroupCpuQuota(machine.root()), 2.5);
}

TEST(ControlGroup, Version2InAContainerThatShowsItsOwnGroupAsRoot) {
  const FakeMachine machine({
      {"/proc/meminfo", kMeminfo},
      {"/proc/self/cgroup", "0::/\n"},
      {"/sys/fs/cgroup/memory.max", "3000000\n"},
      {"/sys/fs/cgroup/memory.current", "4000000\n"},
      {"/sys/fs/cgroup/cpu.max", "50000 100000\n"},
  });
  EXPECT_EQ(TotalMemoryBytes(machine.root()), 3000000);
  EXPECT_EQ(AvailableMemoryBytes(machine.root()), 0);
  EXPECT_EQ(ReadControlGroupCpuQuota(machine.root()), 0.5);
}

TEST(ControlGroup, Version1) {
  const FakeMachine machine({
      {"/proc/meminfo", kMeminfo},
      {"/proc/self/cgroup", "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n"},
      // The container sees its own group at the root of the mount.
      {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "4000000\n"},
      {"/sys/fs/cgroup/memory/memory.usage_in_bytes", "1000000\n"},
      {"/sys/fs/cgroup/memory/memory.stat", "cache 1\ntotal_inactive_file 250000\n"},
      {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000\n"},
      {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"},
  });
  EXPECT_EQ(TotalMemoryBytes(machine.root()), 4000000);
  EXPECT_EQ(AvailableMemoryBytes(machine.root()), 3250000);
  EXPECT_EQ(ReadControlGroupCpuQuota(machine.root()), 1.5);
}

TEST(ControlGroup, Version1WithoutLimits) {
  const FakeMachine machine({
      {"/proc/meminfo", kMeminfo},
      {"/proc/self/cgroup", "5:memory:/\n4:cpu:/\ngarbage\n:\n"},
      {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"},
      {"/sys/fs/cgroup/memory/memory.usage_in_bytes", "1000000\n"},
      {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"},
      {"/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"},
  });
  EXPECT_EQ(ReadControlGroupMemory(machine.root()).limit_bytes, std::nullopt);
  EXPECT_EQ(TotalMemoryBytes(machine.root()), 8000 * 1024);
  EXPECT_EQ(AvailableMemoryBytes(machine.root()), 6000 * 1024);
  EXPECT_EQ(ReadControlGroupCpuQuota(machine.root()), std::nullopt);
}

}  // namespace
}  // namespace tessera
