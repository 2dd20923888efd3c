#include "server/protocol/answer_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tessera {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kLength = 1000;

GenerationRequest MakeRequest(const std::vector<size_t>& prompts, int32_t best_of,
                              std::optional<int32_t> max_tokens) {
  GenerationRequest request;
  for (const size_t length : prompts) {
    request.prompts.push_back({false, "", std::vector<int32_t>(length)});
  }
  request.n = request.best_of = best_of;
  request.has_max_tokens = max_tokens.has_value();
  if (max_tokens) request.sampling.max_tokens = *max_tokens;
  return request;
}

TEST(AnswerLimits, RefusesWhatIsTooMuch) {
  struct Case {
    std::vector<size_t> prompts;
    int32_t best_of;
    int32_t max_tokens;
    std::optional<int32_t> logprobs, prompt_logprobs;
    bool echo;
    const char* part;  // of the message; "": none
  };
  const Case cases[] = {
      {{10}, 1, 16, {}, {}, false, ""},
      {{10}, 100, 90, {}, {}, false, ""},
      {{10}, 101, 90, {}, {}, false, "10100 tokens of prompts and answers, and one may have 10000"},
      {{500}, 20, 10, {}, {}, false, "n"},         // copies of the prompt
      {{500}, 10, 2147483647, {}, {}, false, ""},  // no longer than the model's
      {{500, 500}, 5, 2147483647, {}, {}, false, ""},
      {{10}, 1, 10, 20, {}, false, ""},
      {{10}, 1, 10, 21, {}, false, "logprobs is 21, but must be in 0 to 20 (--max-logprobs"},
      {{10}, 1, 10, {}, 21, false, "prompt_logprobs is 21"},
      {{10}, 1, 100, 19, {}, false, ""},
      {{10}, 1, 101, 19, {}, false, "2020 log probabilities, and one may have 2000"},
      {{100}, 1, 1, 18, {}, false, ""},
      {{100}, 1, 10, 19, {}, true, "2200 log probabilities"},
      {{100}, 1, 10, {}, 19, false, ""},
      {{101}, 1, 10, {}, 19, false, "2020 log probabilities"},
      {{10}, 3, 10, 0, 1, true, ""},
  };
  for (const Case& c : cases) {
    GenerationRequest request = MakeRequest(c.prompts, c.best_of, c.max_tokens);
    request.logprobs = c.logprobs;
    request.prompt_logprobs = c.prompt_logprobs;
    request.echo = c.echo;
    const AnswerLimits limits{
        .max_model_len = kLength, .max_tokens = 10000, .max_logprobs_in_all = 2000};
    const auto error = LimitAnswers(limits, &request);
    EXPECT_EQ(error.has_value(), c.part[0] != '\0') << c.part;
    if (error) {
      EXPECT_THAT(error->message, HasSubstr(c.part));
      EXPECT_EQ(error->status, 400);
    }
    EXPECT_EQ(request.sampling.max_tokens, c.max_tokens);
  }
}

TEST(AnswerLimits, ChoosesALengthWhereNoneIsGiven) {
  struct Case {
    size_t prompt;
    int32_t best_of;
    std::optional<int32_t> logprobs;
    int32_t expected;
  };
  for (const Case& c : {Case{10, 1, {}, 9990}, Case{10, 100, {}, 90}, Case{10, 1, 19, 100},
                        Case{10, 2, 19, 50}, Case{10, 1000, {}, 1}}) {
    GenerationRequest request = MakeRequest({c.prompt}, c.best_of, {});
    request.logprobs = c.logprobs;
    const AnswerLimits limits{
        .max_model_len = 100'000, .max_tokens = 10000, .max_logprobs_in_all = 2000};
    const auto error = LimitAnswers(limits, &request);
    EXPECT_EQ(error.has_value(), c.best_of == 1000);
    EXPECT_EQ(request.sampling.max_tokens, c.expected);
  }
}

}  // namespace
}  // namespace tessera
