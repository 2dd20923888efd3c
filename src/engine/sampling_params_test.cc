#include "engine/sampling_params.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>

namespace tessera {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

using Change = std::function<void(SamplingParams*)>;

TEST(SamplingParams, DefaultsAndLimitsAreFine) {
  const Change changes[] = {
      [](SamplingParams*) {},
      [](SamplingParams* p) { p->temperature = 0; },
      [](SamplingParams* p) { p->top_p = 1e-6f; },
      [](SamplingParams* p) { p->top_k = -1; },
      [](SamplingParams* p) { p->min_p = 1; },
      [](SamplingParams* p) { p->presence_penalty = -2; },
      [](SamplingParams* p) { p->min_tokens = p->max_tokens; },
      [](SamplingParams* p) {
        p->logit_bias = {{0, -100.0f}, {99, -kInfinity}};
      },
      [](SamplingParams* p) { p->logprobs = 0; },
      [](SamplingParams* p) { p->prompt_logprobs = 100; },
      [](SamplingParams* p) {
        p->stop = {"é", "\n"};
      },
  };
  for (const Change& change : changes) {
    SamplingParams params;
    change(&params);
    const Status status = Validate(params, 100);
    EXPECT_TRUE(status.ok()) << status.error().message;
  }
}

TEST(SamplingParams, ErrorsNameTheValueAndItsRange) {
  struct Case {
    Change change;
    const char* message;
  };
  const Case cases[] = {
      {[](SamplingParams* p) { p->temperature = -1; },
       "temperature is -1, but must be finite and at least 0 (0: greedy)."},
      {[](SamplingParams* p) { p->temperature = kNan; }, "temperature is nan"},
      {[](SamplingParams* p) { p->temperature = kInfinity; }, "temperature is inf"},
      {[](SamplingParams* p) { p->top_p = 0; }, "top_p is 0, but must be above 0 and at most 1"},
      {[](SamplingParams* p) { p->top_p = 1.01f; }, "top_p is 1.01"},
      {[](SamplingParams* p) { p->top_p = kNan; }, "top_p is nan"},
      {[](SamplingParams* p) { p->top_k = -2; }, "top_k is -2"},
      {[](SamplingParams* p) { p->min_p = 2; }, "min_p is 2"},
      {[](SamplingParams* p) { p->repetition_penalty = 0; }, "repetition_penalty is 0"},
      {[](SamplingParams* p) { p->repetition_penalty = 1e-38f; }, "must be in 0.001 to 1000"},
      {[](SamplingParams* p) { p->allowed_token_ids = {100}; }, "an entry of allowed_token_ids"},
      {[](SamplingParams* p) {
         p->bad_words = {{1}, {}};
       },
       "bad_words holds an empty word"},
      {[](SamplingParams* p) {
         p->bad_words = {{1, -1}};
       },
       "a token of bad_words is -1"},
      {[](SamplingParams* p) { p->presence_penalty = 2.5f; }, "presence_penalty is 2.5"},
      {[](SamplingParams* p) { p->frequency_penalty = -3; }, "frequency_penalty is -3"},
      {[](SamplingParams* p) { p->max_tokens = 0; }, "max_tokens is 0, but must be at least 1."},
      {[](SamplingParams* p) { p->min_tokens = 257; },
       "min_tokens is 257, but must be in 0 to max_tokens, 256."},
      {[](SamplingParams* p) { p->min_tokens = -1; }, "min_tokens is -1"},
      {[](SamplingParams* p) { p->logprobs = -1; }, "logprobs is -1"},
      {[](SamplingParams* p) { p->prompt_logprobs = 101; },
       "prompt_logprobs is 101, but must be in 0 to the vocabulary's 100."},
      {[](SamplingParams* p) {
         p->logit_bias = {{100, 0.0f}};
       },
       "a token of logit_bias is 100, but must be a token of the vocabulary, 0 to 99."},
      {[](SamplingParams* p) {
         p->logit_bias = {{1, kNan}};
       },
       "a bias of logit_bias is nan"},
      {[](SamplingParams* p) { p->stop_token_ids = {-1}; }, "an entry of stop_token_ids is -1"},
      {[](SamplingParams* p) {
         p->stop = {"a", ""};
       },
       "stop holds an empty string"},
      {[](SamplingParams* p) { p->stop = {"\xa9"}; }, "in the middle of a character"},
  };
  for (const Case& c : cases) {
    SamplingParams params;
    c.change(&params);
    const Status status = Validate(params, 100);
    ASSERT_FALSE(status.ok()) << c.message;
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(status.error().message, testing::HasSubstr(c.message));
  }
}

}  // namespace
}  // namespace tessera
