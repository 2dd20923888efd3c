// MergeStates() over states that are found one by one, so that callers need no list of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "tessera/merge.h"

namespace tessera {

// As MergeStates(), of state_of(0) .. state_of(count - 1), which are asked for repeatedly.
template <typename StateOf>
float MergeStatesOf(int32_t count, const StateOf& state_of, int32_t size, float* output) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  float maximum = kNone;
  for (int32_t s = 0; s < count; ++s) {
    const float lse = state_of(s).lse;
    // max() would pass over NaN, and parts that are all NaN would look like parts without keys.
    maximum = std::isnan(lse) ? lse : std::max(maximum, lse);
  }
  if (maximum == kNone) {
    std::fill_n(output, size, 0.0f);
    return kNone;
  }
  double total = 0;
  for (int32_t s = 0; s < count; ++s) {
    const float lse = state_of(s).lse;
    if (lse != kNone) total += std::exp(static_cast<double>(lse) - maximum);
  }
  // Chunks of the row are summed aside, so that `output` may be one of the inputs.
  constexpr int32_t kChunk = 64;
  float sums[kChunk];
  for (int32_t begin = 0; begin < size; begin += kChunk) {
    const int32_t n = std::min(kChunk, size - begin);
    std::fill_n(sums, n, 0.0f);
    for (int32_t s = 0; s < count; ++s) {
      const PartialState state = state_of(s);
      if (state.lse == kNone) continue;
      const float weight =
          static_cast<float>(std::exp(static_cast<double>(state.lse) - maximum) / total);
      for (int32_t i = 0; i < n; ++i) sums[i] += weight * state.output[begin + i];
    }
    std::copy_n(sums, n, output + begin);
  }
  return static_cast<float>(maximum + std::log(total));
}

}  // namespace tessera
