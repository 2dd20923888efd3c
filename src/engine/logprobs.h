// Log probabilities of tokens, from a row of logits.
#pragma once

#include <cstdint>
#include <span>

#include "engine/request.h"

namespace tessera {

// Of `token` and of the num_top likeliest tokens; among equals the smaller id comes first, in the
// list as in the rank. O(vocabulary * log(num_top)).
TokenLogprob LogprobOf(std::span<const float> logits, int32_t token, int32_t num_top);

}  // namespace tessera
