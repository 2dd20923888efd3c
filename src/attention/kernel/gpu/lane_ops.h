// What the GPU policy does to single numbers of a lane.
#pragma once

#include <cstdint>

#include "device/gpu/simt.h"

namespace tessera::kernel::lanes {

struct LaneOps {
  static constexpr float kMinusInfinity = -__builtin_inff();
  SIMT_DEVICE float Mul(float a, float b) { return a * b; }
  SIMT_DEVICE float Add(float a, float b) { return a + b; }
  SIMT_DEVICE float Sub(float a, float b) { return a - b; }
  SIMT_DEVICE float Exp2(float x) { return simt::Exp2(x); }
  SIMT_DEVICE float Max(float a, float b) { return simt::Max(a, b); }
  // 1 - 2 / (e^(2x) + 1): runs into its limits without overflow trouble (infinity gives 1, 0 gives
  // -1).
  SIMT_DEVICE float Tanh(float x) {
    return 1.0f - 2.0f / (simt::Exp2(2.0f * 1.44269504088896340736f * x) + 1.0f);
  }
  SIMT_DEVICE float ZeroIfMinusInfinity(float x) { return x == kMinusInfinity ? 0.0f : x; }
  SIMT_DEVICE float Distance(int32_t key, int32_t position) {
    return static_cast<float>(key - position);
  }
  SIMT_DEVICE float SqrtDistance(int32_t key, int32_t position) {
    return key < position ? simt::Sqrt(static_cast<float>(position - key)) : 0.0f;
  }
  SIMT_DEVICE float AddBias(float s, const float* bias, int32_t key, int32_t first, int32_t count) {
    return key >= first && key - first < count ? s + bias[key - first] : s;
  }
  SIMT_DEVICE float KeepInRange(float s, int32_t key, int32_t begin, int32_t end) {
    return key >= begin && key < end ? s : kMinusInfinity;
  }
};

}  // namespace tessera::kernel::lanes
