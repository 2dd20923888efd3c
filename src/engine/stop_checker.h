// Whether a token ends its request, by its number and by counting. (Stop strings: stop_strings.h.)
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/finish_reason.h"
#include "engine/sampling_params.h"

namespace tessera {

// Immutable, thread-safe.
class StopChecker {
 public:
  // `max_model_len`: tokens that prompt and output may have together.
  StopChecker(const SamplingParams& params, const std::vector<int32_t>& eos_token_ids,
              int64_t max_model_len);

  // The tokens that must not be sampled as output token number `index`, counted from 0: all stop
  // tokens during the first min_tokens ones.
  std::span<const int32_t> ForbiddenAt(int32_t index) const;

  // Ascending.
  std::span<const int32_t> stop_tokens() const { return stop_tokens_; }

  // Whether stop strings may begin in the text of output token number `index`.
  bool SearchesTextOf(int32_t index) const { return index >= min_tokens_; }

  // Whether the request ends with `token`, the num_output-th one: kNone, kStop or kLength.
  FinishReason Check(int32_t token, int32_t num_output, int64_t num_tokens) const;

  // Whether the token is an end mark, which is no part of the text.
  bool IsStopToken(int32_t token) const;

 private:
  std::vector<int32_t> stop_tokens_;  // ascending
  int32_t min_tokens_;
  int32_t max_tokens_;
  int64_t max_model_len_;
};

}  // namespace tessera
