// Single numbers of a GPU's lane, and the mathematics of attention on them.
#pragma once

#include <cstdint>

#include "attention/kernel/item_rows.h"
#include "attention/kernel/ops.h"
#include "device/gpu/simt.h"

namespace tessera::kernel::lanes {

struct LaneOps : SingleOps<float> {
  SIMT_DEVICE float Exp2(float x) { return simt::Exp2(x); }
  SIMT_DEVICE float Log2(float x) { return simt::Log2(x); }
  SIMT_DEVICE float Sqrt(float x) { return simt::Sqrt(x); }
  SIMT_DEVICE float Max(float a, float b) { return simt::Max(a, b); }
  // 1 - 2 / (e^(2x) + 1): runs into its limits without overflow trouble (infinity gives 1, 0 gives
  // -1).
  SIMT_DEVICE float Tanh(float x) { return 1.0f - 2.0f / (simt::Exp2(2.0f * kLog2e * x) + 1.0f); }
};
static_assert(NumberOps<LaneOps>);

#define TESSERA_FN SIMT_METHOD
#include "attention/kernel/attention_math.inl"
#undef TESSERA_FN

}  // namespace tessera::kernel::lanes
