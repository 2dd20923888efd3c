#include "device/matrix_rate.h"

#include <gtest/gtest.h>

#include "tessera/device.h"

namespace tessera {
namespace {

TEST(MatrixRate, EveryKindThatTheMachineHas) {
  ThreadPool pool({.num_threads = 2, .pin = false});
  const DeviceInfo cpu = DetectCpu();
  const struct {
    MultiplyKind kind;
    bool present;
  } kKinds[] = {{MultiplyKind::kFloat32, true},
                {MultiplyKind::kBFloat16, cpu.Has("avx512_bf16")},
                {MultiplyKind::kAmx, cpu.Has("amx_bf16")}};
  for (const auto& [kind, present] : kKinds) {
    const double rate = MeasureMultiplyRate(pool, kind);
    if (!present) {
      EXPECT_EQ(rate, 0) << ToString(kind);
    } else if (kind == MultiplyKind::kFloat32) {
      // From an emulator to a chip of the far future, of two threads.
      EXPECT_GT(rate, 1e-4);
      EXPECT_LT(rate, 1e5);
    }
  }
}

}  // namespace
}  // namespace tessera
