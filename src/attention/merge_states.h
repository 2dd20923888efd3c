// MergeStates() over states that are found one by one, so that callers need no list of them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "attention/kernel/cpu/scalar_ops.h"
#include "tessera/merge.h"

namespace tessera {

// As MergeStates(), of state_of(0) .. state_of(count - 1), which are asked for repeatedly.
template <typename StateOf>
float MergeStatesOf(int32_t count, const StateOf& state_of, int32_t size, float* output) {
  using Ops = kernel::HostOps<double>;
  // Chunks of the row are summed aside, so that `output` may be one of the inputs.
  constexpr int32_t kChunk = 64;
  float sums[kChunk];
  kernel::scalar::SoftmaxState<Ops> merged = {};
  int32_t begin = 0;
  do {
    const int32_t n = std::min(kChunk, size - begin);
    std::fill_n(sums, n, 0.0f);
    merged = kernel::scalar::MergeParts<Ops>(
        count, kernel::kLog2e,
        [&](int32_t s) {
          return kernel::scalar::SoftmaxState<Ops>{state_of(s).lse, 1.0};
        },
        [&](int32_t s, double weight) {
          if (weight == 0) return;  // saw no key: its output may be anything
          const float* const part = state_of(s).output + begin;
          for (int32_t i = 0; i < n; ++i) sums[i] += static_cast<float>(weight) * part[i];
        });
    const float factor = static_cast<float>(kernel::scalar::OutputFactor<Ops>(merged.sum, 1.0));
    for (int32_t i = 0; i < n; ++i) output[begin + i] = sums[i] * factor;
    begin += kChunk;
  } while (begin < size);
  return static_cast<float>(kernel::scalar::Lse<Ops>(merged.maximum, merged.sum));
}

}  // namespace tessera
