#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/testing/make_sequence.h"

namespace tessera {
namespace {

struct Arrival {
  int32_t prompt = 1;  // tokens
  int64_t level = 0;
  std::string client = {};
  bool prompt_logits = false;
};

// The step as "id:begin-end", for comparison.
std::string Describe(const ScheduledStep& step) {
  std::string text;
  for (const ScheduledChunk& chunk : step.chunks) {
    if (!text.empty()) text += ' ';
    text += std::to_string(chunk.sequence->id) + ':' + std::to_string(chunk.begin) + '-' +
            std::to_string(chunk.end) + (chunk.samples() ? "*" : "");
  }
  return text;
}

// A scheduler with so many blocks, whose sequences get a token wherever a step makes one. Their
// ids count from 1.
struct Simulation {
  Simulation(int32_t blocks, const SchedulerOptions& options)
      : pool(blocks), scheduler(options, &pool) {}

  Sequence* Add(const Arrival& arrival) {
    const uint64_t id = sequences.size() + 1;
    sequences.push_back(testing::MakeSequence(id, arrival.prompt, arrival.prompt_logits));
    sequences.back()->level = arrival.level;
    sequences.back()->client = arrival.client;
    scheduler.Add(sequences.back().get());
    return sequences.back().get();
  }

  void Remove(uint64_t id) { scheduler.Remove(sequences[id - 1].get()); }

  std::string Step() {
    scheduler.Schedule(&step);
    std::string text = Describe(step);
    scheduler.Complete(step);
    for (const ScheduledChunk& chunk : step.chunks) {
      if (chunk.end == chunk.sequence->size()) chunk.sequence->tokens.push_back(1);
    }
    const Status status = scheduler.CheckIntegrity();
    EXPECT_TRUE(status.ok()) << status.error().message;
    return text;
  }

  BlockPool pool;
  Scheduler scheduler;
  ScheduledStep step;  // the last one
  std::vector<std::unique_ptr<Sequence>> sequences;
};

TEST(Scheduler, NothingToDoIsAnEmptyStep) {
  Simulation sim(1, {4, 8, 4, 8});
  sim.scheduler.Schedule(&sim.step);
  EXPECT_TRUE(sim.step.empty());
}

TEST(Scheduler, PrefillsInChunksBesideDecodes) {
  Simulation sim(100, {4, 8, 4, 8});
  sim.Add({.prompt = 3});
  sim.Add({.prompt = 14});
  EXPECT_EQ(sim.Step(), "1:0-3* 2:0-5");
  EXPECT_EQ(sim.step.num_prefill_tokens, 8);
  sim.Add({.prompt = 1});
  EXPECT_EQ(sim.Step(), "1:3-4* 2:5-12");
  EXPECT_EQ(sim.step.num_prefill_tokens, 7);
  EXPECT_EQ(sim.Step(), "1:4-5* 2:12-14* 3:0-1*");
  EXPECT_EQ(sim.Step(), "1:5-6* 2:14-15* 3:1-2*");
  EXPECT_EQ(sim.step.num_prefill_tokens, 0);
  sim.Remove(2);
  EXPECT_EQ(sim.Step(), "1:6-7* 3:2-3*");
}

TEST(Scheduler, PromptLogitsShortenTheChunk) {
  Simulation sim(100, {4, 8, 2, 3});
  sim.Add({.prompt = 8, .prompt_logits = true});
  sim.Add({.prompt = 2});
  EXPECT_EQ(sim.Step(), "1:0-3 2:0-1");  // no logits are left for 2's last row
  EXPECT_EQ(sim.Step(), "2:1-2* 1:3-5");
  EXPECT_EQ(sim.Step(), "2:2-3* 1:5-7");
  EXPECT_EQ(sim.Step(), "1:7-8* 2:3-4*");  // one missing token is a decode
}

TEST(Scheduler, PreemptsTheYoungestOfEqualPriorityAndRecomputesIt) {
  Simulation sim(3, {2, 8, 4, 8});
  sim.Add({.prompt = 2});
  const Sequence* const second = sim.Add({.prompt = 1});
  sim.Add({.prompt = 1});
  EXPECT_EQ(sim.Step(), "1:0-2* 2:0-1*");  // 3 would take the last block
  EXPECT_EQ(sim.Step(), "1:2-3* 2:1-2*");
  EXPECT_EQ(sim.Step(), "1:3-4*");  // 2 found no block, not even its own
  EXPECT_EQ(sim.scheduler.num_preemptions(), 1);
  EXPECT_EQ(second->size(), 3);
  EXPECT_FALSE(second->running);
  sim.Remove(1);
  EXPECT_EQ(sim.Step(), "2:0-3*");  // all its tokens, the output included
  sim.Remove(2);
  sim.Remove(3);
  EXPECT_TRUE(sim.scheduler.idle());
  EXPECT_EQ(sim.pool.num_used(), 0);
}

// Its priority counts first, then its age.
TEST(Scheduler, PreemptsTheLowestPriority) {
  Simulation sim(5, {2, 8, 4, 8});
  const Sequence* const low = sim.Add({.prompt = 1, .level = 7});
  sim.Add({.prompt = 1});
  EXPECT_EQ(sim.Step(), "2:0-1* 1:0-1*");
  sim.Add({.prompt = 1});
  EXPECT_EQ(sim.Step(), "2:1-2* 1:1-2* 3:0-1*");
  EXPECT_EQ(sim.Step(), "2:2-3* 3:1-2* 1:2-3*");
  EXPECT_EQ(sim.Step(), "2:3-4* 3:2-3*") << "1 gave its blocks to 3";
  EXPECT_FALSE(low->running);
  EXPECT_EQ(sim.scheduler.num_preemptions(), 1);
  for (const uint64_t id : {1, 2, 3}) sim.Remove(id);
  EXPECT_EQ(sim.pool.num_used(), 0);
}

TEST(Scheduler, NewcomersByPriorityThenByWhatTheirClientsHad) {
  Simulation sim(100, {4, 20, 2, 8});
  for (int i = 0; i < 3; ++i) sim.Add({.prompt = 4, .client = "greedy"});
  sim.Add({.prompt = 4, .client = "modest"});
  sim.Add({.prompt = 4, .level = 1, .client = "modest"});
  sim.Add({.prompt = 4, .level = -1, .client = "other"});
  EXPECT_EQ(sim.Step(), "6:0-4* 1:0-4*");
  sim.Remove(6);
  EXPECT_EQ(sim.Step(), "1:4-5* 4:0-4*") << "2 and 3 are behind 1's service";
  sim.Remove(4);
  EXPECT_EQ(sim.Step(), "1:5-6* 2:0-4*");
  sim.Remove(1);
  sim.Remove(2);
  EXPECT_EQ(sim.Step(), "3:0-4* 5:0-4*") << "priorities count first";
  sim.Remove(3);
  sim.Remove(5);
  EXPECT_EQ(sim.pool.num_used(), 0);
}

// Both always have something waiting: what they receive differs by one request at most, however
// their requests look.
TEST(Scheduler, BackloggedClientsReceiveTheSame) {
  Simulation sim(100, {4, 20, 1, 8});
  for (int i = 0; i < 200; ++i) sim.Add({.prompt = 3, .client = "small"});
  for (int i = 0; i < 100; ++i) sim.Add({.prompt = 40, .client = "large"});
  const ClientAccount* const small = sim.sequences.front()->account;
  const ClientAccount* const large = sim.sequences.back()->account;
  constexpr int64_t kLargest = 40 * kPromptTokenService + 10 * kOutputTokenService;
  size_t ended = 0;
  while (ended < 100) {
    sim.Step();
    ASSERT_LE(std::abs(small->service - large->service), kLargest);
    const Sequence* const sequence = sim.step.chunks.at(0).sequence;
    if (sequence->size() < sequence->num_prompt_tokens + 10) continue;
    sim.Remove(sequence->id);
    ++ended;
  }
}

// A client with an endless supply of important requests cannot hold back another's for ever.
TEST(Scheduler, NobodyStarves) {
  Simulation sim(8, {.block_size = 2,
                     .max_batch_tokens = 8,
                     .max_running = 2,
                     .max_logit_rows = 8,
                     .ageing_steps = 20});
  const Sequence* const low = sim.Add({.prompt = 4, .level = 3, .client = "low"});
  std::vector<const Sequence*> important;
  int steps = 0;
  for (; low->size() < 14 && steps < 1000; ++steps) {
    while (sim.scheduler.num_waiting() < 3) {
      important.push_back(sim.Add({.prompt = 4}));
    }
    sim.Step();
    std::erase_if(important, [&](const Sequence* sequence) {
      if (sequence->size() < 12) return false;
      sim.Remove(sequence->id);
      return true;
    });
  }
  EXPECT_EQ(low->size(), 14);
  EXPECT_GT(steps, 40) << "it had to become the first";
  EXPECT_GT(sim.scheduler.num_preemptions(), 0);
}

// One client holds all places with long answers: another one need not wait for their end.
TEST(Scheduler, AnotherClientTakesItsTurn) {
  Simulation sim(1000, {.block_size = 4,
                        .max_batch_tokens = 32,
                        .max_running = 4,
                        .max_logit_rows = 8,
                        .turn_tokens = 10});
  for (int i = 0; i < 8; ++i) sim.Add({.prompt = 4, .client = "many"});
  for (int i = 0; i < 50; ++i) sim.Step();
  EXPECT_EQ(sim.scheduler.num_preemptions(), 0) << "of one client, the first to arrive goes first";
  const Sequence* const one = sim.Add({.prompt = 4, .client = "one"});
  for (int i = 0; i < 5; ++i) sim.Step();
  EXPECT_TRUE(one->running);
  EXPECT_EQ(sim.scheduler.num_preemptions(), 1);
  const int32_t size = one->size();
  for (int i = 0; i < 200; ++i) sim.Step();
  EXPECT_EQ(one->size(), size + 200) << "with one of four it never had more than its share";
  EXPECT_EQ(sim.scheduler.num_preemptions(), 1);
  for (int i = 0; i < 7; ++i) sim.Add({.prompt = 4, .client = "one"});
  for (int i = 0; i < 1000; ++i) sim.Step();
  // A turn of four sequences of at most 500 tokens.
  const ClientAccount* const many = sim.sequences.front()->account;
  EXPECT_LE(std::abs(many->service - one->account->service), 2 * 4 * 500 / 8);
  EXPECT_LT(sim.scheduler.num_preemptions(), 200) << "turns are long enough";
}

// However long all places have been taken and however many wait, with ageing: a client that comes
// later waits for a turn, not for the backlog.
TEST(Scheduler, ANewcomersWaitDoesNotGrow) {
  Simulation sim(4000, {.block_size = 16,
                        .max_batch_tokens = 32,
                        .max_running = 4,
                        .max_logit_rows = 8,
                        .ageing_steps = 20,
                        .turn_tokens = 10});
  std::map<uint64_t, std::string> backlog;
  const auto add = [&](const std::string& client) {
    backlog[sim.Add({.prompt = 4, .client = client})->id] = client;
  };
  for (int i = 0; i < 30; ++i) add("many"), add("more");
  const auto step = [&] {
    sim.Step();
    std::vector<uint64_t> ended;
    for (const auto& sequence : sim.sequences) {
      if (backlog.count(sequence->id) > 0 && sequence->size() >= 200) ended.push_back(sequence->id);
    }
    for (const uint64_t id : ended) {
      sim.Remove(id);
      add(backlog[id]);
      backlog.erase(id);
    }
  };
  for (int i = 0; i < 50; ++i) {
    for (int steps = 0; steps < 100; ++steps) step();
    const Sequence* const one = sim.Add({.prompt = 4, .client = "one" + std::to_string(i)});
    int waited = 0;
    for (; one->size() == 4 && waited < 1000; ++waited) step();
    EXPECT_LE(waited, 200 / 8 + 10) << "after " << i * 100 << " steps";
    sim.Remove(one->id);
  }
}

// A prompt under way takes all rows of the steps to come: nobody could use the place.
TEST(Scheduler, NobodyGivesWayInVain) {
  Simulation sim(1000, {.block_size = 4,
                        .max_batch_tokens = 8,
                        .max_running = 2,
                        .max_logit_rows = 8,
                        .turn_tokens = 4});
  sim.Add({.prompt = 4, .level = 1, .client = "short"});
  for (int i = 0; i < 10; ++i) sim.Step();
  const Sequence* const prompt = sim.Add({.prompt = 200, .client = "long"});
  sim.Step();
  ASSERT_TRUE(prompt->running);
  const Sequence* const one = sim.Add({.prompt = 4, .client = "one"});
  while (!one->running) {
    const bool under_way = prompt->num_computed < 190;
    sim.Step();
    ASSERT_TRUE(!under_way || sim.scheduler.num_running() == 2);
  }
  EXPECT_EQ(sim.scheduler.num_preemptions(), 1);
}

// Its prefix lies in the cache: there is room enough for the rest, and nobody has to go.
TEST(Scheduler, WhatIsCachedNeedsNoPlace) {
  Simulation sim(30, {.block_size = 4,
                      .max_batch_tokens = 100,
                      .max_running = 4,
                      .max_logit_rows = 8,
                      .prefix_caching = true});
  const Sequence* const low = sim.Add({.prompt = 60, .level = 1});
  sim.Step();
  sim.Step();
  const Sequence* const high = sim.Add({.prompt = 60});
  sim.Step();
  EXPECT_TRUE(low->running);
  EXPECT_TRUE(high->running);
  EXPECT_EQ(sim.scheduler.num_preemptions(), 0);
}

TEST(Scheduler, PriorityTakesAPlaceAtOnce) {
  Simulation sim(7, {4, 32, 2, 8});
  sim.Add({.prompt = 4, .level = 5});
  sim.Add({.prompt = 4, .level = 5});
  EXPECT_EQ(sim.Step(), "1:0-4* 2:0-4*");
  sim.Add({.prompt = 4, .level = 4});
  EXPECT_EQ(sim.Step(), "1:4-5* 3:0-4*") << "2 is the younger one";
  sim.Add({.prompt = 16});
  EXPECT_EQ(sim.Step(), "3:4-5* 4:0-16*") << "1 was the last of them";
  sim.Add({.prompt = 24, .level = -1});
  EXPECT_EQ(sim.Step(), "5:0-24*");
  EXPECT_EQ(sim.scheduler.num_running(), 1) << "both had to go";
}

// Many clients, each with one endless answer, and few places: all of them get on.
TEST(Scheduler, ACrowdTakesTurns) {
  Simulation sim(1000, {.block_size = 4,
                        .max_batch_tokens = 64,
                        .max_running = 3,
                        .max_logit_rows = 8,
                        .turn_tokens = 8});
  for (int i = 0; i < 12; ++i) sim.Add({.prompt = 4, .client = std::to_string(i)});
  for (int i = 0; i < 400; ++i) sim.Step();
  int32_t least = 1000, most = 0;
  for (const auto& sequence : sim.sequences) {
    least = std::min(least, sequence->size() - 4);
    most = std::max(most, sequence->size() - 4);
  }
  EXPECT_GT(least, 70) << "of 100 each";
  EXPECT_LT(most, 130);
}

TEST(SchedulerDeathTest, RefusesWhatCanNeverRun) {
  Simulation sim(2, {2, 8, 4, 8});
  EXPECT_DEATH(sim.Add({.prompt = 5}), "can never run");
  EXPECT_DEATH(Scheduler({2, 3, 4, 8}, &sim.pool), "check failed");
}

TEST(Scheduler, ACachedBeginningIsNotComputedAgain) {
  Simulation sim(20, {.block_size = 4,
                      .max_batch_tokens = 32,
                      .max_running = 4,
                      .max_logit_rows = 8,
                      .prefix_caching = true});
  sim.Add({.prompt = 11});
  EXPECT_EQ(sim.Step(), "1:0-11*");
  EXPECT_EQ(sim.step.num_cached_tokens, 0);
  sim.Remove(1);
  const Sequence* const second = sim.Add({.prompt = 11});
  const Sequence* const whole = sim.Add({.prompt = 8});
  EXPECT_EQ(sim.Step(), "2:8-11* 3:4-8*");  // the last token must be computed
  EXPECT_EQ(sim.step.num_cached_tokens, 12);
  EXPECT_EQ(sim.step.num_new_tokens, 19);
  EXPECT_EQ(second->blocks[0], whole->blocks[0]);
  sim.Remove(2);
  sim.Remove(3);
  sim.Add({.prompt = 11, .prompt_logits = true});
  EXPECT_EQ(sim.Step(), "4:0-8");  // all of its prompt's logits are wanted
  EXPECT_EQ(sim.step.num_cached_tokens, 0);
  sim.Remove(4);
  EXPECT_EQ(sim.pool.num_used(), 0);
}

}  // namespace
}  // namespace tessera
