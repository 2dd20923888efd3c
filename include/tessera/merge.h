// Merging of partial attention states: the result over a union of key sets from the results over
// the parts.
#pragma once

#include <cstdint>
#include <span>

namespace tessera {

// One row's partial result over some of its keys.
struct PartialState {
  const float* output = nullptr;  // [size], normalised over its own keys
  float lse =
      0;  // natural log of the sum of exponentials; -infinity: saw no key (output is then ignored)
};

// output[size] = sum_i exp(lse_i - lse) * output_i, lse = log sum_i exp(lse_i) (arXiv 2501.01005,
// section 2.2). Returns lse; with no state that saw a key the output is 0 and the lse -infinity.
// A lse that is NaN makes everything NaN. `output` may be one of the inputs' arrays.
float MergeStates(std::span<const PartialState> states, int32_t size, float* output);

}  // namespace tessera
