#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <limits>
#include <new>
#include <random>
#include <thread>

#include "engine/testing/fake_model.h"
#include "engine/testing/outcomes.h"
#include "ops/cpu/sampler.h"

namespace tessera::testing {
namespace {

std::vector<int32_t> RandomPrompt(std::mt19937* random, int32_t length) {
  std::vector<int32_t> prompt(static_cast<size_t>(length));
  for (int32_t& token : prompt) token = static_cast<int32_t>((*random)() % 90);
  return prompt;
}

TEST(Engine, GeneratesWhatTheModelSays) {
  FakeCounters counters;
  Outcomes outcomes;
  const auto engine = MakeFakeEngine(SmallOptions(), &counters);
  ASSERT_TRUE(engine->Submit(GreedyRequest({1, 2, 3}, 10), outcomes.Callback(0)).ok());
  engine->WaitIdle();
  EXPECT_EQ(outcomes[0].tokens, FakeGreedy({1, 2, 3}, 10));
  EXPECT_EQ(outcomes[0].finish, FinishReason::kLength);
  EXPECT_EQ(outcomes[0].finishes, 1);
  EXPECT_EQ(outcomes[0].prompt_tokens, 3);
  EXPECT_EQ(outcomes[0].output_tokens, 10);
  EXPECT_EQ(counters.steps, 10);
  EXPECT_EQ(counters.plans, 20) << "one for each distinct spec and step";
  const EngineStats stats = engine->stats();
  EXPECT_EQ(stats.steps, 10);
  EXPECT_EQ(stats.prompt_tokens_computed, 3);
  EXPECT_EQ(stats.tokens_generated, 10);
  EXPECT_EQ(stats.decode_tokens, 9);
  EXPECT_EQ(stats.blocks_used, 0);
  EXPECT_EQ(stats.waiting + stats.running, 0);
  EXPECT_GT(stats.prefill_seconds, 0);
  EXPECT_GT(stats.decode_seconds, 0);
}

// A listener whose memory runs out as it hears of a token, or of its end, ends alone.
TEST(Engine, AListenerWithoutMemoryEndsAlone) {
  FakeCounters counters;
  Outcomes outcomes;
  const auto engine = MakeFakeEngine(SmallOptions(), &counters);
  for (size_t i = 0; i < 3; ++i) {
    int heard = 0;
    auto record = outcomes.Callback(i);
    ASSERT_TRUE(engine
                    ->Submit(GreedyRequest({1, 2, 3}, 10),
                             [=](const RequestUpdate& update) mutable {
                               ++heard;
                               if ((i == 0 && heard == 4) || (i == 1 && heard == 10)) {
                                 throw std::bad_alloc();
                               }
                               record(update);
                             })
                    .ok());
  }
  engine->WaitIdle();
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(outcomes[i].finish, FinishReason::kError);
    EXPECT_EQ(outcomes[i].finishes, 1);
    EXPECT_THAT(outcomes[i].error, ::testing::HasSubstr("Memory ran out"));
  }
  EXPECT_EQ(outcomes[0].tokens, FakeGreedy({1, 2, 3}, 3));
  EXPECT_EQ(outcomes[1].tokens, FakeGreedy({1, 2, 3}, 9));
  EXPECT_EQ(outcomes[2].tokens, FakeGreedy({1, 2, 3}, 10));
  EXPECT_EQ(engine->stats().blocks_used, 0);
}

TEST(Engine, ManyRequestsInLittleMemoryGiveTheSameTokens) {
  struct Case {
    int32_t block_size, max_batch_tokens, max_running;
    int64_t blocks;
  };
  const Case cases[] = {{4, 32, 8, 1000}, {4, 32, 8, 20}, {1, 7, 3, 70}, {16, 64, 16, 4},
                        {3, 5, 5, 25},    {5, 1, 1, 13},  {64, 40, 9, 3}};
  for (const Case& c : cases) {
    FakeCounters counters;
    Outcomes outcomes;
    EngineOptions options = SmallOptions();
    options.block_size = c.block_size;
    options.max_batch_tokens = c.max_batch_tokens;
    options.max_running = c.max_running;
    options.kv_cache_bytes = c.blocks * c.block_size * kFakeTokenBytes;
    const auto engine = MakeFakeEngine(options, &counters);
    std::mt19937 random(5);
    std::vector<Request> requests;
    for (size_t i = 0; i < 60; ++i) {
      const int32_t length = 1 + static_cast<int32_t>(random() % 40);
      const int32_t output = 1 + static_cast<int32_t>(random() % 24);
      requests.push_back(GreedyRequest(RandomPrompt(&random, length), output));
      ASSERT_TRUE(engine->Submit(requests[i], outcomes.Callback(i)).ok());
    }
    engine->WaitIdle();
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(outcomes[i].tokens,
                FakeGreedy(requests[i].prompt, requests[i].sampling.max_tokens));
      EXPECT_EQ(outcomes[i].finishes, 1);
    }
    EXPECT_LE(counters.max_rows, c.max_batch_tokens);
    EXPECT_LE(counters.max_sequences, c.max_running);
    EXPECT_EQ(engine->stats().blocks_used, 0);
    if (c.blocks == 20) {
      EXPECT_GT(engine->stats().preemptions, 0);
    }
  }
}

void ExpectLogprob(const TokenLogprob& got, std::span<const int32_t> context, int32_t token,
                   int32_t num_top) {
  const auto result = Logprobs(FakeLogits(context, FakeModelOptions().vocab_size), token, num_top);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(got.token, token);
  EXPECT_EQ(got.logprob, result->own.logprob);
  EXPECT_EQ(got.rank, result->own.rank);
  ASSERT_EQ(got.top.size(), static_cast<size_t>(num_top));
  for (size_t i = 0; i < got.top.size(); ++i) {
    EXPECT_EQ(got.top[i].first, result->top[i].token);
    EXPECT_EQ(got.top[i].second, result->top[i].logprob);
  }
}

// The step under way and all later ones end with what the device says; the engine does not.
TEST(Engine, LostDeviceFailsRequestsWithItsError) {
  std::atomic<bool> lost{false};
  FakeCounters counters;
  Outcomes outcomes;
  const auto engine = MakeFakeEngine(SmallOptions(), &counters, {.device_lost = &lost});
  ASSERT_TRUE(engine->Submit(GreedyRequest({1, 2, 3}, 4), outcomes.Callback(0)).ok());
  engine->WaitIdle();
  EXPECT_EQ(outcomes[0].tokens, FakeGreedy({1, 2, 3}, 4));
  EXPECT_EQ(engine->stats().device_error, "");
  lost = true;
  for (size_t i = 1; i < 3; ++i) {
    ASSERT_TRUE(engine->Submit(GreedyRequest({4, 5}, 4), outcomes.Callback(i)).ok());
    engine->WaitIdle();
    EXPECT_EQ(outcomes[i].finish, FinishReason::kError);
    EXPECT_EQ(outcomes[i].finishes, 1);
    EXPECT_THAT(outcomes[i].error, ::testing::HasSubstr("the fake device was lost"));
  }
  EXPECT_THAT(engine->stats().device_error, ::testing::HasSubstr("the fake device was lost"));
  EXPECT_EQ(engine->stats().blocks_used, 0);
}

TEST(Engine, LogprobsOfPromptAndOutput) {
  for (const int32_t max_batch_tokens : {8, 3, 1000}) {
    FakeCounters counters;
    Outcomes outcomes;
    EngineOptions options = SmallOptions();
    options.max_batch_tokens = max_batch_tokens;
    options.kv_cache_bytes = 15 * options.block_size * kFakeTokenBytes;  // preempts
    const auto engine = MakeFakeEngine(options, &counters);
    std::mt19937 random(6);
    std::vector<Request> requests;
    for (size_t i = 0; i < 12; ++i) {
      Request request = GreedyRequest(RandomPrompt(&random, 1 + static_cast<int32_t>(i) * 3), 12);
      if (i % 3 != 0) request.sampling.logprobs = static_cast<int32_t>(i % 3 - 1) * 4;
      if (i % 2 != 0) request.sampling.prompt_logprobs = static_cast<int32_t>(i % 4 - 1);
      requests.push_back(request);
      ASSERT_TRUE(engine->Submit(request, outcomes.Callback(i)).ok());
    }
    engine->WaitIdle();
    for (size_t i = 0; i < requests.size(); ++i) {
      std::vector<int32_t> context = requests[i].prompt;
      const Outcome& outcome = outcomes[i];
      const SamplingParams& params = requests[i].sampling;
      ASSERT_EQ(outcome.prompt_logprobs.size(), params.prompt_logprobs ? context.size() : 0);
      for (size_t p = 0; p < outcome.prompt_logprobs.size(); ++p) {
        if (p == 0) {
          EXPECT_EQ(outcome.prompt_logprobs[0].token, -1);
          continue;
        }
        ExpectLogprob(outcome.prompt_logprobs[p], std::span(context).first(p), context[p],
                      *params.prompt_logprobs);
      }
      ASSERT_EQ(outcome.logprobs.size(), params.logprobs ? outcome.tokens.size() : 0);
      for (size_t t = 0; t < outcome.logprobs.size(); ++t) {
        ExpectLogprob(outcome.logprobs[t], context, outcome.tokens[t], *params.logprobs);
        context.push_back(outcome.tokens[t]);
      }
    }
  }
}

TEST(Engine, EndsWhereItShould) {
  const std::vector<int32_t> prompt = {7, 1};
  const std::vector<int32_t> greedy = FakeGreedy(prompt, 80);
  // A token that the fake model makes for the first time at index 5.
  const int32_t fifth = greedy[5];
  ASSERT_EQ(std::find(greedy.begin(), greedy.end(), fifth) - greedy.begin(), 5);
  struct Case {
    const char* name;
    std::function<void(SamplingParams*)> change;
    bool eos;
    size_t tokens;
    FinishReason finish;
  };
  const Case cases[] = {
      {"max_tokens", [](SamplingParams* p) { p->max_tokens = 1; }, false, 1, FinishReason::kLength},
      {"model length", [](SamplingParams*) {}, false, 62, FinishReason::kLength},
      {"eos", [](SamplingParams*) {}, true, 6, FinishReason::kStop},
      {"ignore_eos", [](SamplingParams* p) { p->ignore_eos = true; }, true, 62,
       FinishReason::kLength},
      {"stop token",
       [&](SamplingParams* p) {
         p->stop_token_ids = {3000 % 97, fifth};
       },
       false, 6, FinishReason::kStop},
      {"eos as the last that is allowed", [](SamplingParams* p) { p->max_tokens = 6; }, true, 6,
       FinishReason::kStop},
  };
  for (const Case& c : cases) {
    FakeCounters counters;
    Outcomes outcomes;
    FakeModelOptions model;
    if (c.eos) model.eos_token_ids = {96, fifth};
    const auto engine = MakeFakeEngine(SmallOptions(), &counters, model);
    Request request = GreedyRequest(prompt, 1000);
    c.change(&request.sampling);
    ASSERT_TRUE(engine->Submit(request, outcomes.Callback(0)).ok());
    engine->WaitIdle();
    EXPECT_EQ(outcomes[0].tokens.size(), c.tokens) << c.name;
    EXPECT_EQ(outcomes[0].finish, c.finish) << c.name;
    EXPECT_TRUE(std::equal(outcomes[0].tokens.begin(), outcomes[0].tokens.end(), greedy.begin()));
  }
}

TEST(Engine, MinTokensForbidsTheEnd) {
  const std::vector<int32_t> prompt = {7, 8};
  FakeCounters counters;
  Outcomes outcomes;
  FakeModelOptions model;
  model.eos_token_ids = {FakeGreedy(prompt, 6)[5]};
  const auto engine = MakeFakeEngine(SmallOptions(), &counters, model);
  Request request = GreedyRequest(prompt, 20);
  request.sampling.min_tokens = 8;
  ASSERT_TRUE(engine->Submit(request, outcomes.Callback(0)).ok());
  engine->WaitIdle();
  ASSERT_GE(outcomes[0].tokens.size(), 8u);
  for (size_t i = 0; i < 8; ++i) EXPECT_NE(outcomes[0].tokens[i], model.eos_token_ids[0]);
}

TEST(Engine, SubmitRefusesWhatCanNeverRun) {
  FakeCounters counters;
  EngineOptions options = SmallOptions();
  options.kv_cache_bytes = 5 * options.block_size * kFakeTokenBytes;
  const auto engine = MakeFakeEngine(options, &counters);
  EXPECT_EQ(engine->max_model_len(), 20);
  const std::string want = "at least " + std::to_string(64 * kFakeTokenBytes) + " bytes";
  Request stop = GreedyRequest({1}, 1);
  stop.sampling.stop = {"x"};
  Request range = GreedyRequest({1}, 1);
  range.sampling.top_p = 0;
  const std::pair<Request, const char*> cases[] = {
      {GreedyRequest({}, 1), "has no tokens"},
      {GreedyRequest(std::vector<int32_t>(20, 1), 1), "20 that the KV cache holds"},
      {GreedyRequest(std::vector<int32_t>(63, 1), 1), want.c_str()},
      {GreedyRequest(std::vector<int32_t>(64, 1), 1), "64 that a request may have"},
      {GreedyRequest({97}, 1), "token 97"},
      {GreedyRequest({-1}, 1), "token -1"},
      {GreedyRequest({1}, 0), "max_tokens is 0"},
      {stop, "need a tokenizer"},
      {range, "top_p is 0"},
  };
  for (const auto& [request, message] : cases) {
    const auto id = engine->Submit(request, nullptr);
    ASSERT_FALSE(id.ok()) << message;
    EXPECT_THAT(id.error().message, ::testing::HasSubstr(message));
  }
  Outcomes outcomes;
  ASSERT_TRUE(
      engine->Submit(GreedyRequest(std::vector<int32_t>(19, 1), 5), outcomes.Callback(0)).ok());
  engine->WaitIdle();
  EXPECT_EQ(outcomes[0].tokens.size(), 1u);
  EXPECT_EQ(outcomes[0].finish, FinishReason::kLength);
}

TEST(Engine, CreateRefusesNonsense) {
  const std::pair<std::function<void(EngineOptions*)>, const char*> cases[] = {
      {[](EngineOptions* o) { o->block_size = 0; }, "block_size is 0"},
      {[](EngineOptions* o) { o->max_batch_tokens = 0; }, "max_batch_tokens is 0"},
      {[](EngineOptions* o) { o->max_running = -1; }, "max_running is -1"},
      {[](EngineOptions* o) { o->kv_cache_bytes = -1; }, "kv_cache_bytes is -1"},
      {[](EngineOptions* o) { o->max_model_len = -1; }, "max_model_len is -1"},
      {[](EngineOptions* o) { o->kv_cache_bytes = 100; }, "at least 480 bytes"},
      {[](EngineOptions* o) { o->request_timeout = -1; }, "request_timeout is -1"},
  };
  for (const auto& [change, message] : cases) {
    FakeCounters counters;
    EngineOptions options = SmallOptions();
    change(&options);
    const auto engine = Engine::Create(options, MakeFakeParts({}, &counters));
    ASSERT_FALSE(engine.ok()) << message;
    EXPECT_THAT(engine.error().message, ::testing::HasSubstr(message));
  }
}

TEST(Engine, CancelEndsWaitingAndRunningRequests) {
  FakeCounters counters;
  Outcomes outcomes;
  EngineOptions options = SmallOptions();
  options.max_running = 1;
  const auto engine = MakeFakeEngine(options, &counters, {.max_model_len = 1 << 14});
  std::vector<uint64_t> ids;
  for (size_t i = 0; i < 3; ++i) {
    const auto id = engine->Submit(GreedyRequest({1, 2}, 10000), outcomes.Callback(i));
    ASSERT_TRUE(id.ok());
    ids.push_back(*id);
  }
  outcomes.WaitForTokens(0, 3);
  engine->Cancel(ids[1]);
  engine->Cancel(12345);
  engine->Cancel(ids[0]);
  outcomes.WaitForTokens(2, 1);
  engine->Cancel(ids[2]);
  engine->Cancel(ids[2]);
  engine->WaitIdle();
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(outcomes[i].finish, FinishReason::kCancelled);
    EXPECT_EQ(outcomes[i].finishes, 1);
    EXPECT_EQ(outcomes[i].output_tokens, static_cast<int32_t>(outcomes[i].tokens.size()));
  }
  EXPECT_TRUE(outcomes[1].tokens.empty());
  EXPECT_EQ(engine->stats().blocks_used, 0);
}

TEST(Engine, DeadlinesEndWaitingAndRunningRequests) {
  FakeCounters counters;
  Outcomes outcomes;
  EngineOptions options = SmallOptions();
  options.max_running = 1;
  options.request_timeout = 1000;
  const auto engine = MakeFakeEngine(options, &counters, {.max_model_len = 1 << 14});
  using Clock = std::chrono::steady_clock;
  Request late = GreedyRequest({1, 2}, 10000);
  late.deadline = Clock::now() - std::chrono::seconds(1);
  ASSERT_TRUE(engine->Submit(late, outcomes.Callback(0)).ok());
  Request runs = GreedyRequest({1, 2}, 10000);
  runs.deadline = Clock::now() + std::chrono::milliseconds(50);
  ASSERT_TRUE(engine->Submit(runs, outcomes.Callback(1)).ok());
  Request waits = GreedyRequest({1, 3}, 10000);
  waits.deadline = *runs.deadline;
  ASSERT_TRUE(engine->Submit(waits, outcomes.Callback(2)).ok());
  Request ends = GreedyRequest({1, 4}, 5);
  ends.deadline = Clock::time_point::max();  // the server's limit is nearer
  ASSERT_TRUE(engine->Submit(ends, outcomes.Callback(3)).ok());
  engine->WaitIdle();
  EXPECT_GE(Clock::now(), *runs.deadline);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(outcomes[i].finish, FinishReason::kTimeout);
    EXPECT_EQ(outcomes[i].finishes, 1);
    EXPECT_EQ(outcomes[i].output_tokens, static_cast<int32_t>(outcomes[i].tokens.size()));
    EXPECT_EQ(outcomes[i].tokens.empty(), i != 1);
  }
  EXPECT_THAT(outcomes[2].error, ::testing::HasSubstr("before its answer began"));
  EXPECT_THAT(outcomes[1].error,
              ::testing::HasSubstr("after " + std::to_string(outcomes[1].tokens.size())));
  EXPECT_EQ(outcomes[3].tokens, FakeGreedy({1, 4}, 5));
  EXPECT_EQ(engine->stats().timeouts, 3);
  EXPECT_EQ(engine->stats().blocks_used, 0);
}

TEST(Engine, RequestTimeoutIsTheLatestDeadline) {
  FakeCounters counters;
  Outcomes outcomes;
  EngineOptions options = SmallOptions();
  options.request_timeout = 0.02;
  const auto engine = MakeFakeEngine(options, &counters, {.max_model_len = 1 << 14});
  Request request = GreedyRequest({1, 2}, 16000);
  ASSERT_TRUE(engine->Submit(request, outcomes.Callback(0)).ok());
  request.deadline = std::chrono::steady_clock::now() + std::chrono::hours(1);
  ASSERT_TRUE(engine->Submit(request, outcomes.Callback(1)).ok());
  engine->WaitIdle();
  EXPECT_EQ(outcomes[0].finish, FinishReason::kTimeout);
  EXPECT_EQ(outcomes[1].finish, FinishReason::kTimeout);
}

TEST(Engine, PrioritiesAndClientsOrderWhatWaits) {
  FakeCounters counters;
  EngineOptions options = SmallOptions();
  options.max_running = 1;
  const auto engine = MakeFakeEngine(options, &counters, {.max_model_len = 1 << 14});
  std::vector<int> order;
  std::atomic<bool> started{false}, go{false};
  const auto submit = [&](int name, const char* client, int32_t priority) {
    Request request = GreedyRequest({1, 2}, 2);
    request.client = client;
    request.priority = priority;
    const auto id = engine->Submit(request, [&, name](const RequestUpdate& update) {
      started = true;
      while (!go) std::this_thread::yield();  // until all have arrived
      if (update.finish != FinishReason::kNone) order.push_back(name);
    });
    ASSERT_TRUE(id.ok());
  };
  submit(0, "a", 0);
  while (!started) std::this_thread::yield();
  for (const int name : {1, 2}) submit(name, "a", 0);
  for (const int name : {3, 4}) submit(name, "b", 0);
  submit(5, "a", -1);
  submit(6, "c", 1);
  go = true;
  engine->WaitIdle();
  // 0 gives its place to 5; when it is back, "a" and "b" have received the same.
  EXPECT_THAT(order, ::testing::ElementsAre(5, 3, 0, 4, 1, 2, 6));
}

TEST(Engine, CallbacksMaySubmitAndCancel) {
  FakeCounters counters;
  Outcomes outcomes;
  const auto engine = MakeFakeEngine(SmallOptions(), &counters);
  const UpdateCallback first = outcomes.Callback(0);
  const UpdateCallback second = outcomes.Callback(1);
  ASSERT_TRUE(engine
                  ->Submit(GreedyRequest({5}, 40),
                           [&](const RequestUpdate& update) {
                             first(update);
                             if (update.finish != FinishReason::kNone) {
                               EXPECT_TRUE(engine->Submit(GreedyRequest({6}, 4), second).ok());
                             } else {
                               engine->Cancel(update.id);
                             }
                           })
                  .ok());
  engine->WaitIdle();
  EXPECT_EQ(outcomes[0].finish, FinishReason::kCancelled);
  EXPECT_EQ(outcomes[0].tokens.size(), 1u);
  EXPECT_EQ(outcomes[1].tokens, FakeGreedy({6}, 4));
}

TEST(Engine, AFailingModelEndsTheRequestsOfItsStepOnly) {
  FakeCounters counters;
  Outcomes outcomes;
  EngineOptions options = SmallOptions();
  options.max_running = 1;
  const auto engine = MakeFakeEngine(options, &counters);
  ASSERT_TRUE(engine->Submit(GreedyRequest({1, kFailToken}, 5), outcomes.Callback(0)).ok());
  ASSERT_TRUE(engine->Submit(GreedyRequest({1, 2}, 5), outcomes.Callback(1)).ok());
  ASSERT_TRUE(engine->Submit(GreedyRequest({1, kNanToken}, 5), outcomes.Callback(2)).ok());
  ASSERT_TRUE(engine->Submit(GreedyRequest({1, kMemoryToken}, 5), outcomes.Callback(3)).ok());
  ASSERT_TRUE(engine->Submit(GreedyRequest({1, 3}, 5), outcomes.Callback(4)).ok());
  engine->WaitIdle();
  EXPECT_EQ(outcomes[3].finish, FinishReason::kError);
  EXPECT_EQ(outcomes[3].error_code, ErrorCode::kOutOfMemory);
  EXPECT_THAT(outcomes[3].error, ::testing::HasSubstr("Memory ran out in a step of 2 tokens"));
  EXPECT_EQ(outcomes[4].tokens, FakeGreedy({1, 3}, 5));
  EXPECT_EQ(outcomes[0].finish, FinishReason::kError);
  EXPECT_THAT(outcomes[0].error, ::testing::HasSubstr("failed as the test asked"));
  EXPECT_EQ(outcomes[1].tokens, FakeGreedy({1, 2}, 5));
  EXPECT_EQ(outcomes[2].finish, FinishReason::kError);
  EXPECT_THAT(outcomes[2].error, ::testing::Not(::testing::IsEmpty()));
  EXPECT_EQ(engine->stats().blocks_used, 0);
}

TEST(Engine, DestructionCancelsWhatIsUnderWay) {
  FakeCounters counters;
  Outcomes outcomes;
  outcomes[99];
  {
    const auto engine = MakeFakeEngine(SmallOptions(), &counters, {.max_model_len = 1 << 14});
    for (size_t i = 0; i < 100; ++i) {
      ASSERT_TRUE(engine->Submit(GreedyRequest({1, 2, 3}, 10000), outcomes.Callback(i)).ok());
    }
    outcomes.WaitForTokens(0, 2);
  }
  for (size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(outcomes[i].finish, FinishReason::kCancelled);
    EXPECT_EQ(outcomes[i].finishes, 1);
  }
}

TEST(Engine, ManyThreadsSubmitAndCancel) {
  constexpr size_t kThreads = 4;
  constexpr size_t kEach = 250;
  FakeCounters counters;
  Outcomes outcomes;
  outcomes[kThreads * kEach - 1];
  EngineOptions options = SmallOptions();
  options.kv_cache_bytes = 30 * options.block_size * kFakeTokenBytes;
  const auto engine = MakeFakeEngine(options, &counters);
  std::vector<std::thread> threads;
  std::vector<Request> requests(kThreads * kEach);
  std::vector<char> cancelled(kThreads * kEach, 0);
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<uint32_t>(t));
      for (size_t i = t * kEach; i < (t + 1) * kEach; ++i) {
        const int32_t length = 1 + static_cast<int32_t>(random() % 40);
        requests[i] = GreedyRequest(RandomPrompt(&random, length), 12);
        const auto id = engine->Submit(requests[i], outcomes.Callback(i));
        ASSERT_TRUE(id.ok());
        cancelled[i] = random() % 8 == 0;
        if (cancelled[i]) engine->Cancel(*id);
        if (i % 50 == 0) engine->stats();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  engine->WaitIdle();
  for (size_t i = 0; i < requests.size(); ++i) {
    ASSERT_EQ(outcomes[i].finishes, 1);
    std::vector<int32_t> expected = FakeGreedy(requests[i].prompt, 12);
    if (cancelled[i]) {
      expected.resize(std::min(expected.size(), outcomes[i].tokens.size()));
    } else {
      ASSERT_EQ(outcomes[i].finish, FinishReason::kLength);
    }
    ASSERT_EQ(outcomes[i].tokens, expected);
  }
  EXPECT_EQ(engine->stats().blocks_used, 0);
}

TEST(Engine, NotesSayWhatWasLowered) {
  FakeCounters counters;
  EngineOptions options = SmallOptions();
  options.max_running = 100;
  options.kv_cache_bytes = 5 * options.block_size * kFakeTokenBytes;
  const auto engine = MakeFakeEngine(options, &counters);
  EXPECT_THAT(engine->notes(), ::testing::ElementsAre("KV cache: 2.344 KiB, 5 blocks of 4 tokens",
                                                      ::testing::HasSubstr("from 64 to 20 tokens"),
                                                      ::testing::HasSubstr("from 100 to 32")));
}

}  // namespace
}  // namespace tessera::testing
