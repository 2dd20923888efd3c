#include "tessera/merge.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tessera {

float MergeStates(std::span<const PartialState> states, int32_t size, float* output) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  float maximum = kNone;
  for (const PartialState& state : states) {
    // max() would pass over NaN, and parts that are all NaN would look like parts without keys.
    maximum = std::isnan(state.lse) ? state.lse : std::max(maximum, state.lse);
  }
  if (maximum == kNone) {
    std::fill_n(output, size, 0.0f);
    return kNone;
  }
  double total = 0;
  for (const PartialState& state : states) {
    if (state.lse != kNone) total += std::exp(static_cast<double>(state.lse) - maximum);
  }
  // Chunks of the row are summed aside, so that `output` may be one of the inputs.
  constexpr int32_t kChunk = 64;
  float sums[kChunk];
  for (int32_t begin = 0; begin < size; begin += kChunk) {
    const int32_t count = std::min(kChunk, size - begin);
    std::fill_n(sums, count, 0.0f);
    for (const PartialState& state : states) {
      if (state.lse == kNone) continue;
      const float weight =
          static_cast<float>(std::exp(static_cast<double>(state.lse) - maximum) / total);
      for (int32_t i = 0; i < count; ++i) sums[i] += weight * state.output[begin + i];
    }
    std::copy_n(sums, count, output + begin);
  }
  return static_cast<float>(maximum + std::log(total));
}

}  // namespace tessera
