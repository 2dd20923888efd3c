// Speculation changes nothing but the number of steps: every request gives the same tokens, log
// probabilities and end with it as without.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/testing/test_scale.h"
#include "engine/testing/fake_model.h"
#include "engine/testing/outcomes.h"
#include "engine/testing/tiny_math.h"

namespace tessera::testing {
namespace {

// All requests at once, each with `speculative_tokens`.
std::vector<Outcome> RunGuessing(Engine* engine, std::vector<Request> requests,
                                 int32_t speculative_tokens) {
  for (Request& request : requests) request.sampling.speculative_tokens = speculative_tokens;
  return RunAll(engine, requests);
}

void ExpectSame(const std::vector<Outcome>& got, const std::vector<Outcome>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    SCOPED_TRACE("request " + std::to_string(i));
    EXPECT_EQ(got[i].text, want[i].text);
    ASSERT_EQ(got[i].tokens, want[i].tokens);
    EXPECT_EQ(got[i].finish, want[i].finish);
    EXPECT_EQ(got[i].error, want[i].error);
    ASSERT_EQ(got[i].logprobs.size(), want[i].logprobs.size());
    for (size_t t = 0; t < want[i].logprobs.size(); ++t) {
      EXPECT_EQ(got[i].logprobs[t].token, want[i].logprobs[t].token);
      EXPECT_EQ(got[i].logprobs[t].logprob, want[i].logprobs[t].logprob) << "token " << t;
      EXPECT_EQ(got[i].logprobs[t].rank, want[i].logprobs[t].rank);
      EXPECT_EQ(got[i].logprobs[t].top, want[i].logprobs[t].top);
    }
  }
}

// Requests whose answers hold a few different tokens only, so that guesses are often right, with
// everything that looks at an answer's earlier tokens.
std::vector<Request> RepetitiveRequests(std::mt19937* random, size_t count) {
  const auto draw = [random](int32_t low, int32_t high) {
    return std::uniform_int_distribution<int32_t>(low, high)(*random);
  };
  std::vector<Request> requests;
  for (size_t i = 0; i < count; ++i) {
    Request request;
    request.prompt.resize(static_cast<size_t>(draw(1, 30)));
    for (int32_t& token : request.prompt) token = draw(1, 3);
    SamplingParams& sampling = request.sampling;
    sampling.max_tokens = draw(1, 40);
    sampling.seed = (*random)();
    sampling.temperature = draw(0, 2) == 0 ? 0.0f : 1.5f;
    for (int32_t token = 1; token <= 3; ++token) sampling.logit_bias.emplace_back(token, 100.0f);
    if (draw(0, 3) == 0) sampling.logit_bias.emplace_back(kNanToken, 97.0f);
    if (draw(0, 2) == 0) sampling.frequency_penalty = 1.5f;
    if (draw(0, 2) == 0) sampling.repetition_penalty = 1.02f;
    if (draw(0, 2) == 0) sampling.logprobs = draw(0, 3);
    if (draw(0, 2) == 0) sampling.stop_token_ids = {draw(1, 3)};
    if (draw(0, 2) == 0) sampling.min_tokens = draw(0, sampling.max_tokens);
    requests.push_back(std::move(request));
  }
  return requests;
}

TEST(Speculation, SameAnswersFromTheFakeModel) {
  struct Case {
    int32_t block_size, max_batch_tokens, max_running;
    int64_t blocks;
    bool batch_invariant;
  };
  const Case cases[] = {{4, 64, 8, 1000, false}, {4, 64, 8, 1000, true}, {4, 32, 8, 24, false},
                        {1, 9, 3, 75, true},     {16, 64, 16, 6, false}, {3, 5, 5, 26, false},
                        {5, 1, 1, 16, false}};
  int64_t drafts = 0, accepted = 0, preemptions = 0;
  for (const Case& c : cases) {
    for (const bool prefix_caching : {false, true}) {
      std::mt19937 random(static_cast<uint32_t>(c.blocks + c.block_size));
      const std::vector<Request> requests = RepetitiveRequests(&random, 60);
      std::vector<Outcome> plain;
      for (const int32_t tokens : {0, 1, 4, 20}) {
        SCOPED_TRACE("blocks of " + std::to_string(c.block_size) + ", " + std::to_string(tokens));
        FakeCounters counters;
        FakeModelOptions model;
        model.max_model_len = 72;
        model.batch_invariant = c.batch_invariant;
        EngineOptions options;
        options.block_size = c.block_size;
        options.max_batch_tokens = c.max_batch_tokens;
        options.max_running = c.max_running;
        options.prefix_caching = prefix_caching;
        options.kv_cache_bytes = c.blocks * c.block_size * kFakeTokenBytes;
        const auto engine = MakeFakeEngine(options, &counters, model);
        const std::vector<Outcome> outcomes = RunGuessing(engine.get(), requests, tokens);
        const EngineStats stats = engine->stats();
        EXPECT_EQ(stats.blocks_used, 0);
        EXPECT_LE(counters.max_rows, c.max_batch_tokens);
        EXPECT_LE(stats.accepted_tokens, stats.draft_tokens);
        if (tokens == 0) {
          plain = outcomes;
          EXPECT_EQ(stats.drafts, 0);
          continue;
        }
        ExpectSame(outcomes, plain);
        drafts += stats.drafts;
        accepted += stats.accepted_tokens;
        preemptions += stats.preemptions;
      }
    }
  }
  EXPECT_GT(drafts, 1000);
  EXPECT_GT(accepted, 1000);
  EXPECT_GT(preemptions, 0);
}

TEST(Speculation, OffUnlessAskedFor) {
  FakeCounters counters;
  EngineOptions options;
  options.speculative_tokens = 3;
  const auto engine = MakeFakeEngine(options, &counters);
  Request request;
  request.prompt = {1, 2, 1, 2, 1, 2};
  request.sampling.logit_bias = {{1, 100.0f}};
  request.sampling.max_tokens = 20;
  RunGuessing(engine.get(), {request}, 0);
  EXPECT_EQ(engine->stats().drafts, 0);
  EXPECT_EQ(engine->stats().steps, 20);
  // Without a word about it, as the engine's options say.
  ASSERT_TRUE(engine->Submit(request, nullptr).ok());
  engine->WaitIdle();
  EXPECT_GT(engine->stats().accepted_tokens, 10);
  EXPECT_LT(engine->stats().steps, 32);
  request.sampling.speculative_tokens = kMaxSpeculativeTokens + 1;
  EXPECT_FALSE(engine->Submit(request, nullptr).ok());
}

// Log probabilities as well: bit by bit the same. Each prompt is one chunk, whatever arrives when:
// where a prompt is cut, the last bits differ, with speculation and without.
TEST(Speculation, SameAnswersFromTinyMath) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    EngineOptions options = TinyMathOptions();
    options.dtype = dtype;
    options.batch_invariant = true;
    options.prefix_caching = false;
    options.max_batch_tokens = 1 << 15;
    auto engine = Engine::Create(options);
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    const auto count = static_cast<size_t>(std::max(int64_t{2}, Scaled(4)));
    std::vector<Request> requests;
    for (const RecordedAnswer& answer : RecordedAnswers(count)) {
      Request request = RequestFor(**engine, answer);
      request.sampling.temperature = requests.size() % 2 == 0 ? 0.0f : 0.8f;
      request.sampling.seed = 7;
      request.sampling.max_tokens = 200;
      request.sampling.logprobs = 2;
      requests.push_back(std::move(request));
    }
    ASSERT_EQ(requests.size(), count);
    const std::vector<Outcome> plain = RunGuessing(engine->get(), requests, 0);
    EXPECT_EQ((*engine)->stats().drafts, 0);
    ExpectSame(RunGuessing(engine->get(), requests, 4), plain);
    EXPECT_GT((*engine)->stats().accepted_tokens, 10);
    EXPECT_EQ((*engine)->stats().blocks_used, 0);
  }
}

}  // namespace
}  // namespace tessera::testing
