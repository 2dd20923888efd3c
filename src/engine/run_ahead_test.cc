// Running ahead changes nothing but the time: every request gives the same tokens, log
// probabilities, text, counts and end with it as without, whatever happens beside it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/testing/source_path.h"
#include "base/testing/test_scale.h"
#include "engine/engine_core.h"
#include "engine/testing/fake_model.h"
#include "engine/testing/outcomes.h"
#include "grammar/constraint_spec.h"
#include "grammar/token_grammar.h"
#include "text/tokenizer/tokenizer.h"

namespace tessera::testing {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int32_t kEnd = 1;
constexpr int32_t kLetter = 69;  // 'a'; 'b', 'c' ... follow it

std::unique_ptr<Tokenizer> LoadTinyMathTokenizer() {
  auto tokenizer = Tokenizer::Load(TinyMathDirectory());
  EXPECT_TRUE(tokenizer.ok() && *tokenizer != nullptr);
  return std::move(tokenizer).value();
}

// Texts of few letters.
std::shared_ptr<TokenGrammar> LetterGrammar(const Tokenizer& tokenizer) {
  std::vector<std::string> texts(97);
  for (int32_t t = 5; t < kFailToken; ++t) {
    texts[static_cast<size_t>(t)] = tokenizer.Decode(std::vector<int32_t>{t});
  }
  ConstraintSpec spec;
  spec.kind = ConstraintSpec::Kind::kRegex;
  spec.pattern = "(ab|c|de*f){1,9}";
  auto automaton = CompileConstraint(spec);
  EXPECT_TRUE(automaton.ok());
  auto grammar = TokenGrammar::Create(std::move(automaton).value(),
                                      std::make_shared<const grammar::TokenTrie>(texts));
  EXPECT_TRUE(grammar.ok());
  return std::move(grammar).value();
}

// A request, and when it comes and goes, in steps of the engine.
struct Arrival {
  Request request;
  int step = 0;
  int cancelled = -1;      // never
  bool has_limit = false;  // a deadline soon after it came
};

bool IsCutShort(const Arrival& arrival) { return arrival.cancelled >= 0 || arrival.has_limit; }

class Arrivals {
 public:
  // Of `waiting_percent` of the requests the next token depends on the host.
  Arrivals(uint32_t seed, int waiting_percent)
      : random_(seed),
        waiting_percent_(waiting_percent),
        tokenizer_(LoadTinyMathTokenizer()),
        grammar_(LetterGrammar(*tokenizer_)) {}

  std::vector<Arrival> Make(size_t count) {
    std::vector<Arrival> arrivals;
    int step = 0;
    for (size_t i = 0; i < count; ++i) {
      Arrival arrival;
      step += Draw(0, 3) == 0 ? Draw(1, 30) : Draw(0, 2);
      arrival.step = step;
      if (Draw(0, 7) == 0) arrival.cancelled = step + Draw(0, 25);
      arrival.has_limit = Draw(0, 15) == 0;
      arrival.request = MakeRequest();
      arrivals.push_back(std::move(arrival));
    }
    return arrivals;
  }

 private:
  int32_t Draw(int32_t low, int32_t high) {
    return std::uniform_int_distribution<int32_t>(low, high)(random_);
  }
  bool Percent(int percent) { return Draw(0, 99) < percent; }

  Request MakeRequest() {
    Request request;
    // Beginnings that others have as well.
    request.prompt.resize(static_cast<size_t>(Draw(1, 30)));
    for (size_t i = 0; i < request.prompt.size(); ++i) {
      request.prompt[i] = i < 9 ? kLetter + static_cast<int32_t>(i) : kLetter + Draw(0, 2);
    }
    request.priority = Draw(0, 5) == 0 ? Draw(-1, 1) : 0;
    request.client = std::to_string(Draw(1, 3));
    SamplingParams& sampling = request.sampling;
    sampling.max_tokens = Draw(0, 3) == 0 ? Draw(1, 3) : Draw(1, 60);
    sampling.seed = random_();
    sampling.temperature = Draw(0, 2) == 0 ? 0.0f : 1.5f;
    if (Percent(30)) sampling.logprobs = Draw(0, 3);
    if (Percent(10)) sampling.prompt_logprobs = Draw(0, 2);
    if (Percent(30)) sampling.min_tokens = Draw(0, sampling.max_tokens);
    if (Percent(waiting_percent_)) {
      switch (Draw(0, 4)) {
        case 0:
          request.grammar = grammar_;
          return request;
        case 1:
          sampling.speculative_tokens = Draw(1, 6);
          break;
        case 2:
          sampling.frequency_penalty = 1.5f;
          break;
        case 3:
          sampling.repetition_penalty = 1.1f;
          break;
        case 4:
          sampling.bad_words = {{kLetter, kLetter + 1}};
          break;
      }
    }
    // Mostly three letters, and the ends that a host finds only when it has the token.
    if (Percent(70)) {
      for (int32_t i = 0; i < 3; ++i) sampling.logit_bias.emplace_back(kLetter + i, 100.0f);
      if (Percent(50)) sampling.logit_bias.emplace_back(kEnd, 97.0f);
      if (Percent(10)) sampling.logit_bias.emplace_back(kNanToken, 96.0f);
      if (Percent(40)) sampling.stop = {"abc", "cc", "bab"};
      if (Percent(20)) sampling.include_stop_str_in_output = true;
      if (Percent(20)) sampling.stop_token_ids = {kLetter + 2};
    }
    return request;
  }

  std::mt19937 random_;
  const int waiting_percent_;
  const std::unique_ptr<Tokenizer> tokenizer_;
  const std::shared_ptr<TokenGrammar> grammar_;
};

struct Case {
  int32_t block_size, max_batch_tokens, max_running;
  int64_t blocks;
  int waiting_percent;
};

struct Driven {
  Outcomes outcomes;
  EngineStats stats;
};

EngineOptions OptionsOf(const Case& c, bool prefix_caching, RunAhead run_ahead) {
  EngineOptions options;
  options.block_size = c.block_size;
  options.max_batch_tokens = c.max_batch_tokens;
  options.max_running = c.max_running;
  options.prefix_caching = prefix_caching;
  options.run_ahead = run_ahead;
  options.kv_cache_bytes = c.blocks * c.block_size * kFakeTokenBytes;
  return options;
}

std::unique_ptr<EngineCore> MakeCore(const EngineOptions& options, FakeCounters* counters,
                                     const FakeModelOptions& model) {
  EngineParts parts = MakeFakeParts(model, counters);
  parts.tokenizer = LoadTinyMathTokenizer();
  auto core = EngineCore::Create(options, std::move(parts));
  EXPECT_TRUE(core.ok()) << core.error().message;
  return std::move(core).value();
}

void Add(EngineCore* core, uint64_t id, Request request, UpdateCallback callback) {
  const Status status = core->Check(request);
  ASSERT_TRUE(status.ok()) << status.error().message;
  auto rules = core->MakeRules(request.sampling);
  ASSERT_TRUE(rules.ok());
  request.rules = std::move(rules).value();
  core->Add({id, std::move(request), std::move(callback)});
}

// `cut`: cancellations and deadlines happen.
void Drive(EngineCore* core, const std::vector<Arrival>& arrivals, bool cut, Driven* driven) {
  driven->outcomes[arrivals.size() - 1];
  size_t next = 0;
  for (int step = 0; next < arrivals.size() || core->num_requests() > 0; ++step) {
    ASSERT_LT(step, 100000);
    for (; next < arrivals.size() && arrivals[next].step <= step; ++next) {
      Request request = arrivals[next].request;
      if (cut && arrivals[next].has_limit) {
        request.deadline = Clock::now() + std::chrono::microseconds(300 * (next % 5));
      }
      Add(core, next + 1, std::move(request), driven->outcomes.Callback(next));
    }
    for (size_t i = 0; cut && i < next; ++i) {
      if (arrivals[i].cancelled == step) core->Cancel(i + 1);
    }
    core->Step();
    const Status status = core->CheckIntegrity();
    ASSERT_TRUE(status.ok()) << status.error().message;
  }
  driven->stats = core->stats();
  EXPECT_EQ(driven->stats.blocks_used, 0);
}

void ExpectSameLogprobs(const std::vector<TokenLogprob>& got, const std::vector<TokenLogprob>& want,
                        bool cut) {
  ASSERT_TRUE(got.size() == want.size() || (cut && got.size() < want.size()));
  for (size_t t = 0; t < got.size(); ++t) {
    EXPECT_EQ(got[t].token, want[t].token);
    EXPECT_EQ(got[t].logprob, want[t].logprob);
    EXPECT_EQ(got[t].rank, want[t].rank);
    EXPECT_EQ(got[t].top, want[t].top);
  }
}

// `cut`: it may be the beginning only.
void ExpectSame(const Outcome& got, const Outcome& want, bool cut) {
  EXPECT_EQ(got.finishes, 1);
  EXPECT_EQ(got.prompt_tokens, want.prompt_tokens);
  EXPECT_EQ(got.output_tokens, static_cast<int32_t>(got.tokens.size()));
  ExpectSameLogprobs(got.logprobs, want.logprobs, cut);
  if (!got.prompt_logprobs.empty() || !cut) {
    ExpectSameLogprobs(got.prompt_logprobs, want.prompt_logprobs, false);
  }
  const bool ended = got.finish == FinishReason::kCancelled || got.finish == FinishReason::kTimeout;
  if (cut && ended) {
    ASSERT_LE(got.tokens.size(), want.tokens.size());
    EXPECT_TRUE(std::equal(got.tokens.begin(), got.tokens.end(), want.tokens.begin()));
    return;
  }
  EXPECT_EQ(got.tokens, want.tokens);
  EXPECT_EQ(got.text, want.text);
  EXPECT_EQ(got.finish, want.finish);
  EXPECT_EQ(got.error, want.error);
}

// On a device that does nothing before somebody waits, steps one by one and run ahead.
// Graphs, buffers and block tables of two steps under way are in use.
TEST(RunAhead, SameAnswersFromADeviceThatIsLate) {
  // Under a sanitizer each emulated step takes a tenth of a second: then the case with preemptions.
  const auto count = static_cast<size_t>(std::max(int64_t{10}, Scaled(50)));
  std::vector<Case> cases = {{4, 16, 6, 24, 5}};
  if (count >= 20) cases.insert(cases.end(), {{4, 16, 8, 1000, 0}, {1, 9, 3, 75, 0}});
  int64_t ahead = 0, preemptions = 0, replays = 0;
  for (const Case& c : cases) {
    SCOPED_TRACE("blocks of " + std::to_string(c.block_size));
    Arrivals maker(static_cast<uint32_t>(c.blocks), c.waiting_percent);
    const auto arrivals = maker.Make(count);
    FakeModelOptions model;
    model.max_model_len = 72;
    model.eos_token_ids = {kEnd};
    model.emulated_gpu = true;
    FakeCounters counters;
    Driven plain, got;
    Drive(MakeCore(OptionsOf(c, true, RunAhead::kOff), &counters, model).get(), arrivals, false,
          &plain);
    EXPECT_EQ(plain.stats.steps_ahead, 0);
    Drive(MakeCore(OptionsOf(c, true, RunAhead::kAuto), &counters, model).get(), arrivals, true,
          &got);
    if (HasFatalFailure()) return;
    for (size_t i = 0; i < arrivals.size(); ++i) {
      SCOPED_TRACE("request " + std::to_string(i));
      ExpectSame(got.outcomes[i], plain.outcomes[i], IsCutShort(arrivals[i]));
    }
    ahead += got.stats.steps_ahead;
    preemptions += got.stats.preemptions;
    replays += got.stats.graph_replays;
  }
  const auto least = static_cast<int64_t>(count * cases.size());
  EXPECT_GT(ahead, least);
  EXPECT_GT(preemptions, 0);
  EXPECT_GT(replays, least);
}

TEST(RunAhead, SameAnswersUnderRandomWorkloads) {
  const Case cases[] = {{4, 64, 8, 1000, 0},  {4, 64, 8, 1000, 20}, {4, 32, 8, 24, 0},
                        {4, 32, 8, 24, 10},   {1, 9, 3, 75, 0},     {3, 7, 5, 30, 5},
                        {16, 64, 16, 6, 100}, {5, 4, 4, 18, 0}};
  int64_t ahead = 0, preemptions = 0, hits = 0, cancelled = 0, timeouts = 0, stopped = 0;
  for (const Case& c : cases) {
    for (const bool prefix_caching : {false, true}) {
      SCOPED_TRACE("blocks of " + std::to_string(c.block_size) + ", prefix caching " +
                   std::to_string(prefix_caching));
      Arrivals maker(static_cast<uint32_t>(c.blocks * 10 + c.waiting_percent), c.waiting_percent);
      const auto arrivals = maker.Make(static_cast<size_t>(std::max(int64_t{30}, Scaled(150))));
      FakeModelOptions model;
      model.max_model_len = 72;
      model.eos_token_ids = {kEnd};
      FakeCounters counters;
      Driven plain, got;
      Drive(MakeCore(OptionsOf(c, prefix_caching, RunAhead::kOff), &counters, model).get(),
            arrivals, false, &plain);
      Drive(MakeCore(OptionsOf(c, prefix_caching, RunAhead::kOn), &counters, model).get(), arrivals,
            true, &got);
      if (HasFatalFailure()) return;
      EXPECT_EQ(plain.stats.steps_ahead, 0);
      EXPECT_LE(counters.max_rows, c.max_batch_tokens);
      EXPECT_LE(counters.max_sequences, c.max_running);
      for (size_t i = 0; i < arrivals.size(); ++i) {
        SCOPED_TRACE("request " + std::to_string(i));
        ExpectSame(got.outcomes[i], plain.outcomes[i], IsCutShort(arrivals[i]));
        cancelled += got.outcomes[i].finish == FinishReason::kCancelled ? 1 : 0;
        stopped += got.outcomes[i].finish == FinishReason::kStop ? 1 : 0;
      }
      ahead += got.stats.steps_ahead;
      preemptions += got.stats.preemptions;
      hits += got.stats.prefix_cache_hits;
      timeouts += got.stats.timeouts;
    }
  }
  EXPECT_GT(ahead, Scaled(5000));
  EXPECT_GT(preemptions, Scaled(100));
  EXPECT_GT(hits, Scaled(1000));
  EXPECT_GT(cancelled, Scaled(100));
  EXPECT_GT(timeouts, 0);
  EXPECT_GT(stopped, Scaled(500));
}

class RunAheadTest : public ::testing::Test {
 protected:
  std::unique_ptr<EngineCore> Make(RunAhead run_ahead, EngineOptions options = SmallOptions(),
                                   const FakeModelOptions& model = {}) {
    options.run_ahead = run_ahead;
    return MakeCore(options, &counters_, model);
  }
  void Finish(EngineCore* core) {
    while (core->num_requests() > 0) core->Step();
    EXPECT_EQ(core->stats().blocks_used, 0);
    EXPECT_TRUE(core->CheckIntegrity().ok());
  }

  FakeCounters counters_;
  Outcomes outcomes_;
};

TEST_F(RunAheadTest, LengthIsKnownBeforehandAndAnEndIsNot) {
  FakeModelOptions model;
  for (const RunAhead run_ahead : {RunAhead::kOff, RunAhead::kOn}) {
    const bool on = run_ahead == RunAhead::kOn;
    Outcomes outcomes;
    auto core = Make(run_ahead);
    Add(core.get(), 1, GreedyRequest({1, 2, 3}, 20), outcomes.Callback(0));
    Finish(core.get());
    EXPECT_EQ(core->stats().steps, 20);
    EXPECT_EQ(core->stats().steps_ahead, on ? 19 : 0);
    EXPECT_EQ(core->stats().tokens_generated, 20);
    if (model.eos_token_ids.empty()) model.eos_token_ids = {outcomes[0].tokens[6]};
    const auto first =
        std::find(outcomes[0].tokens.begin(), outcomes[0].tokens.end(), model.eos_token_ids[0]);
    const auto length = first - outcomes[0].tokens.begin() + 1;
    core = Make(run_ahead, SmallOptions(), model);
    Add(core.get(), 1, GreedyRequest({1, 2, 3}, 20), outcomes.Callback(1));
    Finish(core.get());
    EXPECT_EQ(outcomes[1].finish, FinishReason::kStop);
    EXPECT_EQ(outcomes[1].output_tokens, length);
    EXPECT_EQ(core->stats().tokens_generated, length);
    EXPECT_EQ(core->stats().steps, length + (on ? 1 : 0));
    // A step that nobody waits for is not left under way.
    EXPECT_EQ(core->View().steps.size(), static_cast<size_t>(core->stats().steps));
  }
}

TEST_F(RunAheadTest, WhatDependsOnTheHostIsNotFollowed) {
  for (const int kind : {0, 1, 2, 3}) {
    const auto core = Make(RunAhead::kOn);
    Request request = GreedyRequest({1, 2, 3}, 10);
    if (kind == 0) request.sampling.presence_penalty = 1;
    if (kind == 1) request.sampling.repetition_penalty = 1.5f;
    if (kind == 2) request.sampling.bad_words = {{5}};
    if (kind == 3) request.sampling.speculative_tokens = 2;
    Add(core.get(), 1, request, outcomes_.Callback(0));
    Finish(core.get());
    EXPECT_EQ(core->stats().steps_ahead, 0) << kind;
  }
}

// A conversation: each prompt is the one before it with its answer and more.
TEST_F(RunAheadTest, ConversationsFindAsMuchInThePrefixCache) {
  std::vector<int32_t> cached[2];
  for (const RunAhead run_ahead : {RunAhead::kOff, RunAhead::kOn}) {
    const auto core = Make(run_ahead, SmallOptions(), {.max_model_len = 200});
    std::vector<int32_t> context = {1, 2, 3};
    for (size_t turn = 0; turn < 12; ++turn) {
      Request request = GreedyRequest(context, 1 + static_cast<int32_t>(turn % 6) * 2);
      if (turn % 3 == 2) request.sampling.stop_token_ids = {FakeNextToken(context, 97)};
      Outcomes outcomes;
      Add(core.get(), turn + 1, request, outcomes.Callback(0));
      Finish(core.get());
      cached[run_ahead == RunAhead::kOn].push_back(outcomes[0].cached_tokens);
      context.insert(context.end(), outcomes[0].tokens.begin(), outcomes[0].tokens.end());
      context.insert(context.end(), {7, 8, 9});
    }
  }
  EXPECT_EQ(cached[1], cached[0]);
  EXPECT_GT(cached[1].back(), 40);
}

TEST_F(RunAheadTest, AFailingStepEndsItsRequestsAfterTheTokensOfTheStepBefore) {
  for (const int32_t token : {kFailToken, kMemoryToken}) {
    Outcomes outcomes;
    const auto core = Make(RunAhead::kOn);
    Add(core.get(), 1, GreedyRequest({1, 2, 3}, 40), outcomes.Callback(0));
    for (int step = 0; step < 5; ++step) core->Step();
    ASSERT_EQ(outcomes[0].tokens.size(), 4u);  // the fifth is under way
    Add(core.get(), 2, GreedyRequest({4, token}, 5), outcomes.Callback(1));
    core->Step();
    EXPECT_EQ(core->num_requests(), 0);
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(outcomes[i].finish, FinishReason::kError);
      EXPECT_EQ(outcomes[i].finishes, 1);
    }
    EXPECT_EQ(outcomes[0].tokens.size(), 5u);
    EXPECT_EQ(core->stats().blocks_used, 0);
    Add(core.get(), 3, GreedyRequest({1, 2, 3}, 40), outcomes.Callback(2));
    Finish(core.get());
    EXPECT_EQ(outcomes[2].tokens.size(), 40u);
    EXPECT_TRUE(std::equal(outcomes[0].tokens.begin(), outcomes[0].tokens.end(),
                           outcomes[2].tokens.begin()));
  }
}

TEST_F(RunAheadTest, ACallbackWithoutMemoryEndsItsRequestAlone) {
  const auto core = Make(RunAhead::kOn);
  const UpdateCallback first = outcomes_.Callback(0);
  Add(core.get(), 1, GreedyRequest({1, 2, 3}, 40), [&](const RequestUpdate& update) {
    first(update);
    if (outcomes_[0].tokens.size() == 3 && update.finish == FinishReason::kNone) {
      throw std::bad_alloc();
    }
  });
  Add(core.get(), 2, GreedyRequest({1, 2, 4}, 40), outcomes_.Callback(1));
  Finish(core.get());
  EXPECT_EQ(outcomes_[0].finish, FinishReason::kError);
  EXPECT_EQ(outcomes_[0].tokens.size(), 3u);
  EXPECT_EQ(outcomes_[1].tokens.size(), 40u);
  EXPECT_EQ(outcomes_[1].finish, FinishReason::kLength);
}

TEST_F(RunAheadTest, ADeviceLostWithAStepUnderWayLeavesRequestsToHandOver) {
  std::atomic<bool> lost{false};
  const auto core = Make(RunAhead::kOn, SmallOptions(), {.device_lost = &lost});
  Add(core.get(), 1, GreedyRequest({1, 2, 3}, 40), outcomes_.Callback(0));
  Add(core.get(), 2, GreedyRequest({1, 2, 4}, 40), outcomes_.Callback(1));
  for (int step = 0; step < 3; ++step) core->Step();
  Add(core.get(), 3, GreedyRequest({1, 2, 5}, 40), outcomes_.Callback(2));
  core->Step();  // the third one's first token is under way
  lost = true;
  Add(core.get(), 4, GreedyRequest({1, 2, 6}, 40), outcomes_.Callback(3));
  for (int step = 0; step < 3 && core->device_error().empty(); ++step) core->Step();
  EXPECT_THAT(core->device_error(), ::testing::HasSubstr("the fake device was lost"));
  const auto pending = core->HandOver(Internal(core->device_error()));
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(outcomes_[i].finish, FinishReason::kError);
    EXPECT_EQ(outcomes_[i].finishes, 1);
    EXPECT_THAT(outcomes_[i].error, ::testing::HasSubstr("the fake device was lost"));
  }
  ASSERT_EQ(pending.size(), 2u);
  EXPECT_EQ(pending[0].request.prompt, (std::vector<int32_t>{1, 2, 5}));
  EXPECT_EQ(pending[1].request.prompt, (std::vector<int32_t>{1, 2, 6}));
  EXPECT_EQ(core->num_requests(), 0);
  EXPECT_TRUE(core->CheckIntegrity().ok());
}

TEST_F(RunAheadTest, ACoreEndsWithAStepUnderWay) {
  auto core = Make(RunAhead::kOn);
  Add(core.get(), 1, GreedyRequest({1, 2, 3}, 40), outcomes_.Callback(0));
  core->Step();
  core->CancelAll();
  EXPECT_EQ(outcomes_[0].finish, FinishReason::kCancelled);
  core.reset();
  EXPECT_EQ(outcomes_[0].finishes, 1);
}

}  // namespace
}  // namespace tessera::testing
