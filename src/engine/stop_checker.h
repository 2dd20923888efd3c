// Whether a token ends its request, by its number and by counting. (Stop strings: stop_strings.h.)
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "engine/finish_reason.h"
#include "engine/sampling_params.h"
#include "engine/token_rules.h"

namespace tessera {

// Immutable, thread-safe.
class StopChecker {
 public:
  // `max_model_len`: tokens that prompt and output may have together.
  StopChecker(const SamplingParams& params, std::shared_ptr<const TokenRules> rules,
              int64_t max_model_len);

  const TokenRules& rules() const { return *rules_; }
  const std::shared_ptr<const TokenRules>& shared_rules() const { return rules_; }

  // The tokens that must not be sampled as output token number `index`, counted from 0: all stop
  // tokens during the first min_tokens ones.
  std::span<const int32_t> ForbiddenAt(int32_t index) const;

  // Whether stop strings may begin in the text of output token number `index`.
  bool SearchesTextOf(int32_t index) const { return index >= min_tokens_; }

  // Whether the request ends with `token`, the num_output-th one: kNone, kStop or kLength.
  FinishReason Check(int32_t token, int32_t num_output, int64_t num_tokens) const;

  // Whether the request ends with its num_output-th token, whichever that is.
  bool IsLast(int32_t num_output, int64_t num_tokens) const {
    return num_output >= max_tokens_ || num_tokens >= max_model_len_;
  }

  // Whether the model itself means the end by the token.
  bool IsModelEnd(int32_t token) const;

 private:
  std::shared_ptr<const TokenRules> rules_;
  int32_t min_tokens_;
  int32_t max_tokens_;
  int64_t max_model_len_;
};

}  // namespace tessera
