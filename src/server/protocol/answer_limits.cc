#include "server/protocol/answer_limits.h"

#include <algorithm>
#include <limits>
#include <string>

namespace tessera {
namespace {

std::optional<ApiError> CheckCounts(const AnswerLimits& limits, const GenerationRequest& request) {
  struct Count {
    const char* name;
    int32_t value;
  };
  const bool chat = request.form == AnswerForm::kChat;
  for (const Count& count :
       {Count{chat ? "top_logprobs" : "logprobs", request.logprobs.value_or(0)},
        Count{"prompt_logprobs", request.prompt_logprobs.value_or(0)}}) {
    if (count.value <= limits.max_logprobs) continue;
    return ApiError::Invalid(count.name,
                             std::string(count.name) + " is " + std::to_string(count.value) +
                                 ", but must be in 0 to " + std::to_string(limits.max_logprobs) +
                                 " (--max-logprobs sets the limit).");
  }
  return std::nullopt;
}

// What all answers take together, of a thing of which each token of a prompt takes `per_prompt`,
// and each of an answer `per_output`.
struct Demand {
  int64_t per_prompt = 0;
  int64_t per_output = 0;
};

int64_t TotalOf(const Demand& demand, int64_t max_model_len, const GenerationRequest& request) {
  int64_t total = 0;
  for (const Prompt& prompt : request.prompts) {
    const auto length = static_cast<int64_t>(prompt.tokens.size());
    const int64_t room = std::max<int64_t>(max_model_len - length, 1);
    total += length * demand.per_prompt;
    total += std::min<int64_t>(request.sampling.max_tokens, room) * demand.per_output;
  }
  return total * request.best_of;
}

// The longest answers that keep the total within `limit`.
int64_t LongestWithin(int64_t limit, const Demand& demand, const GenerationRequest& request) {
  if (demand.per_output == 0) return std::numeric_limits<int32_t>::max();
  int64_t prompts = 0;
  for (const Prompt& prompt : request.prompts) {
    prompts += static_cast<int64_t>(prompt.tokens.size());
  }
  const int64_t left = limit / request.best_of - prompts * demand.per_prompt;
  return left / (static_cast<int64_t>(request.prompts.size()) * demand.per_output);
}

}  // namespace

std::optional<ApiError> LimitAnswers(const AnswerLimits& limits, GenerationRequest* request) {
  if (auto error = CheckCounts(limits, *request)) return error;
  const int64_t in_answer = request->logprobs ? 1 + *request->logprobs : 0;
  const int64_t in_prompt = std::max<int64_t>(
      request->prompt_logprobs ? 1 + *request->prompt_logprobs : 0, request->echo ? in_answer : 0);
  const Demand tokens = {1, 1};
  const Demand logprobs = {in_prompt, in_answer};
  if (!request->has_max_tokens) {
    const int64_t longest = std::min(LongestWithin(limits.max_tokens, tokens, *request),
                                     LongestWithin(limits.max_logprobs_in_all, logprobs, *request));
    request->sampling.max_tokens =
        static_cast<int32_t>(std::clamp<int64_t>(longest, 1, std::numeric_limits<int32_t>::max()));
  }
  struct Total {
    const char* param;
    const char* what;
    int64_t value, limit;
    const char* instead;
  };
  for (const Total& total :
       {Total{"n", "tokens of prompts and answers", TotalOf(tokens, limits.max_model_len, *request),
              limits.max_tokens, "lower n or max_tokens, or send fewer prompts"},
        Total{"logprobs", "log probabilities", TotalOf(logprobs, limits.max_model_len, *request),
              limits.max_logprobs_in_all,
              "lower max_tokens, n or the number of log probabilities, or send fewer prompts"}}) {
    if (total.value <= total.limit) continue;
    return ApiError::Invalid(total.param, "The request asks for up to " +
                                              std::to_string(total.value) + " " + total.what +
                                              ", and one may have " + std::to_string(total.limit) +
                                              "; " + total.instead + ".");
  }
  return std::nullopt;
}

}  // namespace tessera
