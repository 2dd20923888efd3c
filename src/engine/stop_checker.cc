#include "engine/stop_checker.h"

#include <algorithm>

namespace tessera {

StopChecker::StopChecker(const SamplingParams& params, const std::vector<int32_t>& eos_token_ids,
                         int64_t max_model_len)
    : stop_tokens_(params.stop_token_ids),
      min_tokens_(params.min_tokens),
      max_tokens_(params.max_tokens),
      max_model_len_(max_model_len) {
  if (!params.ignore_eos) {
    stop_tokens_.insert(stop_tokens_.end(), eos_token_ids.begin(), eos_token_ids.end());
  }
  std::sort(stop_tokens_.begin(), stop_tokens_.end());
  stop_tokens_.erase(std::unique(stop_tokens_.begin(), stop_tokens_.end()), stop_tokens_.end());
}

std::span<const int32_t> StopChecker::ForbiddenAt(int32_t index) const {
  if (index >= min_tokens_) return {};
  return stop_tokens_;
}

FinishReason StopChecker::Check(int32_t token, int32_t num_output, int64_t num_tokens) const {
  if (num_output > min_tokens_ && IsStopToken(token)) return FinishReason::kStop;
  if (num_output >= max_tokens_ || num_tokens >= max_model_len_) return FinishReason::kLength;
  return FinishReason::kNone;
}

bool StopChecker::IsStopToken(int32_t token) const {
  return std::binary_search(stop_tokens_.begin(), stop_tokens_.end(), token);
}

}  // namespace tessera
