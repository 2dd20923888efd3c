#include "engine/stop_checker.h"

#include <algorithm>
#include <utility>

namespace tessera {

StopChecker::StopChecker(const SamplingParams& params, std::shared_ptr<const TokenRules> rules,
                         int64_t max_model_len)
    : rules_(std::move(rules)),
      min_tokens_(params.min_tokens),
      max_tokens_(params.max_tokens),
      max_model_len_(max_model_len) {}

std::span<const int32_t> StopChecker::ForbiddenAt(int32_t index) const {
  if (index >= min_tokens_) return {};
  return rules_->stop_tokens;
}

bool StopChecker::IsModelEnd(int32_t token) const {
  return std::binary_search(rules_->model_ends.begin(), rules_->model_ends.end(), token);
}

FinishReason StopChecker::Check(int32_t token, int32_t num_output, int64_t num_tokens) const {
  const std::vector<int32_t>& stop_tokens = rules_->stop_tokens;
  if (num_output > min_tokens_ &&
      std::binary_search(stop_tokens.begin(), stop_tokens.end(), token)) {
    return FinishReason::kStop;
  }
  if (IsLast(num_output, num_tokens)) return FinishReason::kLength;
  return FinishReason::kNone;
}

}  // namespace tessera
