// allowed_token_ids, bad_words and what a request says of its start, with the fake model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "engine/testing/fake_model.h"
#include "engine/testing/outcomes.h"

namespace tessera::testing {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kVocab = 97;

std::unique_ptr<Engine> MakeEngine(FakeCounters* counters) {
  return MakeFakeEngine(SmallOptions(), counters, {.eos_token_ids = {3}});
}

Outcome Answer(Engine* engine, const std::vector<int32_t>& prompt, SamplingParams sampling) {
  Request request;
  request.prompt = prompt;
  request.sampling = std::move(sampling);
  request.sampling.temperature = 0;
  request.sampling.ignore_eos = true;
  return RunAll(engine, {request}).front();
}

// The likeliest of those that `may` lets through, token by token.
template <typename May>
std::vector<int32_t> Expected(std::vector<int32_t> context, int32_t count, const May& may) {
  const size_t prompt = context.size();
  for (int32_t i = 0; i < count; ++i) {
    const std::vector<float> logits = FakeLogits(context, kVocab);
    int32_t best = -1;
    for (int32_t token = 0; token < kVocab; ++token) {
      const std::span<const int32_t> output = std::span<const int32_t>(context).subspan(prompt);
      if (!may(output, token)) continue;
      const auto index = static_cast<size_t>(token);
      if (best < 0 || logits[index] > logits[static_cast<size_t>(best)]) best = token;
    }
    context.push_back(best);
  }
  return {context.begin() + static_cast<std::ptrdiff_t>(prompt), context.end()};
}

TEST(TokenRulesEngineTest, AllowedTokensAndBadWords) {
  FakeCounters counters;
  const auto engine = MakeEngine(&counters);
  const std::vector<int32_t> prompt = {1, 2, 3};
  for (const int32_t guesses : {0, 4}) {
    SamplingParams sampling;
    sampling.max_tokens = 20;
    sampling.speculative_tokens = guesses;
    sampling.allowed_token_ids = {10, 20, 70};
    const auto allowed = [](auto, int32_t t) { return t == 10 || t == 20 || t == 70; };
    EXPECT_EQ(Answer(engine.get(), prompt, sampling).tokens, Expected(prompt, 20, allowed));

    sampling.bad_words = {{10, 10}, {20}};
    const auto both = [&](std::span<const int32_t> output, int32_t t) {
      return allowed(output, t) && t != 20 && !(t == 10 && !output.empty() && output.back() == 10);
    };
    EXPECT_EQ(Answer(engine.get(), prompt, sampling).tokens, Expected(prompt, 20, both));

    sampling.allowed_token_ids.clear();
    const std::vector<int32_t> first = Expected(prompt, 2, [](auto, int32_t) { return true; });
    sampling.bad_words = {first};
    const auto not_first = [&](std::span<const int32_t> output, int32_t t) {
      return output.empty() || output.back() != first[0] || t != first[1];
    };
    const std::vector<int32_t> tokens = Answer(engine.get(), prompt, sampling).tokens;
    EXPECT_EQ(tokens, Expected(prompt, 20, not_first));
    EXPECT_EQ(tokens[0], first[0]);
    EXPECT_NE(tokens[1], first[1]);
  }
}

TEST(TokenRulesEngineTest, NothingLeftIsAnErrorOfTheRequest) {
  FakeCounters counters;
  const auto engine = MakeEngine(&counters);
  SamplingParams sampling;
  sampling.max_tokens = 5;
  sampling.allowed_token_ids = {10};
  sampling.bad_words = {{10, 10}};
  const Outcome outcome = Answer(engine.get(), {1}, sampling);
  EXPECT_EQ(outcome.tokens, (std::vector<int32_t>{10}));
  EXPECT_EQ(outcome.finish, FinishReason::kError);
  EXPECT_EQ(outcome.error_code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(outcome.error, HasSubstr("allowed_token_ids, bad_words"));
}

TEST(TokenRulesEngineTest, LastUpdateSaysWhatWasCached) {
  FakeCounters counters;
  const auto engine = MakeEngine(&counters);
  SamplingParams sampling;
  sampling.max_tokens = 2;
  const std::vector<int32_t> prompt = {5, 6, 7, 8, 9, 10, 11, 12, 13};
  const auto before = std::chrono::steady_clock::now();
  EXPECT_EQ(Answer(engine.get(), prompt, sampling).cached_tokens, 0);
  const Outcome second = Answer(engine.get(), prompt, sampling);
  EXPECT_EQ(second.cached_tokens, 8) << "two blocks of four";
  EXPECT_GE(second.started.value_or(std::chrono::steady_clock::time_point::min()), before);
  sampling.prompt_logprobs = 0;
  EXPECT_EQ(Answer(engine.get(), prompt, sampling).cached_tokens, 0);
}

}  // namespace
}  // namespace tessera::testing
