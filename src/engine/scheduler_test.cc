#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace tessera {
namespace {

std::unique_ptr<Sequence> MakeSequence(uint64_t id, int32_t prompt, bool prompt_logits = false) {
  auto sequence = std::make_unique<Sequence>();
  sequence->id = id;
  sequence->tokens.assign(static_cast<size_t>(prompt), 1);
  sequence->num_prompt_tokens = prompt;
  sequence->prompt_logits_from = prompt_logits ? 0 : prompt;
  return sequence;
}

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

std::string StepOnce(Scheduler* scheduler, ScheduledStep* step) {
  scheduler->Schedule(step);
  std::string text = Describe(*step);
  scheduler->Complete(*step);
  for (const ScheduledChunk& chunk : step->chunks) {
    if (chunk.end == chunk.sequence->size()) chunk.sequence->tokens.push_back(1);
  }
  const Status status = scheduler->CheckIntegrity();
  EXPECT_TRUE(status.ok()) << status.error().message;
  return text;
}

TEST(Scheduler, NothingToDoIsAnEmptyStep) {
  BlockPool pool(1);
  Scheduler scheduler({4, 8, 4, 8}, &pool);
  ScheduledStep step;
  scheduler.Schedule(&step);
  EXPECT_TRUE(step.empty());
}

TEST(Scheduler, PrefillsInChunksBesideDecodes) {
  BlockPool pool(100);
  Scheduler scheduler({4, 8, 4, 8}, &pool);
  ScheduledStep step;
  const auto a = MakeSequence(1, 3);
  const auto b = MakeSequence(2, 14);
  const auto c = MakeSequence(3, 1);
  scheduler.Add(a.get());
  scheduler.Add(b.get());
  EXPECT_EQ(StepOnce(&scheduler, &step), "1:0-3* 2:0-5");
  EXPECT_EQ(step.num_prefill_tokens, 8);
  scheduler.Add(c.get());
  EXPECT_EQ(StepOnce(&scheduler, &step), "1:3-4* 2:5-12");
  EXPECT_EQ(step.num_prefill_tokens, 7);
  EXPECT_EQ(StepOnce(&scheduler, &step), "1:4-5* 2:12-14* 3:0-1*");
  EXPECT_EQ(StepOnce(&scheduler, &step), "1:5-6* 2:14-15* 3:1-2*");
  EXPECT_EQ(step.num_prefill_tokens, 0);
  scheduler.Remove(b.get());
  EXPECT_EQ(StepOnce(&scheduler, &step), "1:6-7* 3:2-3*");
}

TEST(Scheduler, PromptLogitsShortenTheChunk) {
  BlockPool pool(100);
  Scheduler scheduler({4, 8, 2, 3}, &pool);
  ScheduledStep step;
  const auto a = MakeSequence(1, 8, true);
  const auto b = MakeSequence(2, 2);
  scheduler.Add(a.get());
  scheduler.Add(b.get());
  EXPECT_EQ(StepOnce(&scheduler, &step), "1:0-3 2:0-1");  // no logits are left for b's last row
  EXPECT_EQ(StepOnce(&scheduler, &step), "2:1-2* 1:3-5");
  EXPECT_EQ(StepOnce(&scheduler, &step), "2:2-3* 1:5-7");
  EXPECT_EQ(StepOnce(&scheduler, &step), "1:7-8* 2:3-4*");  // one missing token is a decode
}

TEST(Scheduler, PreemptsTheYoungestOfEqualPriorityAndRecomputesIt) {
  BlockPool pool(3);
  Scheduler scheduler({2, 8, 4, 8}, &pool);
  ScheduledStep step;
  const auto a = MakeSequence(1, 2);
  const auto b = MakeSequence(2, 1);
  const auto c = MakeSequence(3, 1);
  scheduler.Add(a.get());
  scheduler.Add(b.get());
  scheduler.Add(c.get());
  EXPECT_EQ(StepOnce(&scheduler, &step), "1:0-2* 2:0-1*");  // 3 would take the last block
  EXPECT_EQ(StepOnce(&scheduler, &step), "1:2-3* 2:1-2*");
  EXPECT_EQ(StepOnce(&scheduler, &step), "1:3-4*");  // 2 found no block, not even its own
  EXPECT_EQ(scheduler.num_preemptions(), 1);
  EXPECT_EQ(b->size(), 3);
  EXPECT_FALSE(b->running);
  scheduler.Remove(a.get());
  EXPECT_EQ(StepOnce(&scheduler, &step), "2:0-3*");  // all its tokens, the output included
  scheduler.Remove(b.get());
  scheduler.Remove(c.get());
  EXPECT_TRUE(scheduler.idle());
  EXPECT_EQ(pool.num_used(), 0);
}

// Its priority counts first, then its age.
TEST(Scheduler, PreemptsTheLowestPriority) {
  BlockPool pool(5);
  Scheduler scheduler({2, 8, 4, 8}, &pool);
  ScheduledStep step;
  const auto low = MakeSequence(1, 1);
  const auto old = MakeSequence(2, 1);
  const auto young = MakeSequence(3, 1);
  low->level = 7;
  scheduler.Add(low.get());
  scheduler.Add(old.get());
  EXPECT_EQ(StepOnce(&scheduler, &step), "2:0-1* 1:0-1*");
  scheduler.Add(young.get());
  EXPECT_EQ(StepOnce(&scheduler, &step), "2:1-2* 1:1-2* 3:0-1*");
  EXPECT_EQ(StepOnce(&scheduler, &step), "2:2-3* 3:1-2* 1:2-3*");
  EXPECT_EQ(StepOnce(&scheduler, &step), "2:3-4* 3:2-3*") << "1 gave its blocks to 3";
  EXPECT_FALSE(low->running);
  EXPECT_EQ(scheduler.num_preemptions(), 1);
  for (const auto* sequence : {&low, &old, &young}) scheduler.Remove(sequence->get());
  EXPECT_EQ(pool.num_used(), 0);
}

TEST(Scheduler, NewcomersByPriorityThenByWhatTheirClientsHad) {
  BlockPool pool(100);
  Scheduler scheduler({4, 20, 2, 8}, &pool);
  ScheduledStep step;
  std::vector<std::unique_ptr<Sequence>> sequences;
  const auto add = [&](const char* client, int64_t priority) {
    sequences.push_back(MakeSequence(sequences.size() + 1, 4));
    sequences.back()->client = client;
    sequences.back()->level = priority;
    scheduler.Add(sequences.back().get());
  };
  const auto end = [&](uint64_t id) { scheduler.Remove(sequences[id - 1].get()); };
  for (int i = 0; i < 3; ++i) add("greedy", 0);
  add("modest", 0);
  add("modest", 1);
  add("other", -1);
  EXPECT_EQ(StepOnce(&scheduler, &step), "6:0-4* 1:0-4*");
  end(6);
  EXPECT_EQ(StepOnce(&scheduler, &step), "1:4-5* 4:0-4*") << "2 and 3 are behind 1's service";
  end(4);
  EXPECT_EQ(StepOnce(&scheduler, &step), "1:5-6* 2:0-4*");
  end(1);
  end(2);
  EXPECT_EQ(StepOnce(&scheduler, &step), "3:0-4* 5:0-4*") << "priorities count first";
  end(3);
  end(5);
  EXPECT_EQ(pool.num_used(), 0);
}

// Both always have something waiting: what they receive differs by one request at most, however
// their requests look.
TEST(Scheduler, BackloggedClientsReceiveTheSame) {
  BlockPool pool(100);
  Scheduler scheduler({4, 20, 1, 8}, &pool);
  ScheduledStep step;
  std::vector<std::unique_ptr<Sequence>> sequences;
  for (uint64_t i = 0; i < 300; ++i) {
    const bool large = i >= 200;
    sequences.push_back(MakeSequence(i + 1, large ? 40 : 3));
    sequences.back()->client = large ? "large" : "small";
    scheduler.Add(sequences.back().get());
  }
  const ClientAccount* const small = sequences.front()->account;
  const ClientAccount* const large = sequences.back()->account;
  constexpr int64_t kLargest = 40 * kPromptTokenService + 10 * kOutputTokenService;
  size_t ended = 0;
  while (ended < 100) {
    StepOnce(&scheduler, &step);
    ASSERT_LE(std::abs(small->service - large->service), kLargest);
    Sequence* sequence = step.chunks.at(0).sequence;
    if (sequence->size() < sequence->num_prompt_tokens + 10) continue;
    scheduler.Remove(sequence);
    ++ended;
  }
}

// A client with an endless supply of important requests cannot hold back another's for ever.
TEST(Scheduler, NobodyStarves) {
  BlockPool pool(8);
  Scheduler scheduler({.block_size = 2,
                       .max_batch_tokens = 8,
                       .max_running = 2,
                       .max_logit_rows = 8,
                       .ageing_steps = 20},
                      &pool);
  ScheduledStep step;
  std::vector<std::unique_ptr<Sequence>> important;
  const auto low = MakeSequence(1, 4);
  low->level = 3;
  low->client = "low";
  scheduler.Add(low.get());
  uint64_t last_id = 1;
  int steps = 0;
  for (; low->size() < 14 && steps < 1000; ++steps) {
    while (scheduler.num_waiting() < 3) {
      important.push_back(MakeSequence(++last_id, 4));
      scheduler.Add(important.back().get());
    }
    StepOnce(&scheduler, &step);
    std::erase_if(important, [&](const auto& sequence) {
      if (sequence->size() < 12) return false;
      scheduler.Remove(sequence.get());
      return true;
    });
  }
  EXPECT_EQ(low->size(), 14);
  EXPECT_GT(steps, 60) << "it had to become the first";
  EXPECT_GT(scheduler.num_preemptions(), 0);
}

// One client holds all places with long answers: another one need not wait for their end.
TEST(Scheduler, AnotherClientTakesItsTurn) {
  BlockPool pool(1000);
  Scheduler scheduler({.block_size = 4,
                       .max_batch_tokens = 32,
                       .max_running = 4,
                       .max_logit_rows = 8,
                       .turn_tokens = 10},
                      &pool);
  ScheduledStep step;
  std::vector<std::unique_ptr<Sequence>> sequences;
  const auto add = [&](const char* client) {
    sequences.push_back(MakeSequence(sequences.size() + 1, 4));
    sequences.back()->client = client;
    scheduler.Add(sequences.back().get());
    return sequences.back().get();
  };
  for (int i = 0; i < 8; ++i) add("many");
  for (int i = 0; i < 50; ++i) StepOnce(&scheduler, &step);
  EXPECT_EQ(scheduler.num_preemptions(), 0) << "of one client, the first to arrive goes first";
  Sequence* const one = add("one");
  for (int i = 0; i < 5; ++i) StepOnce(&scheduler, &step);
  EXPECT_TRUE(one->running);
  EXPECT_EQ(scheduler.num_preemptions(), 1);
  const int32_t size = one->size();
  for (int i = 0; i < 200; ++i) StepOnce(&scheduler, &step);
  EXPECT_EQ(one->size(), size + 200) << "with one of four it never had more than its share";
  EXPECT_EQ(scheduler.num_preemptions(), 1);
  for (int i = 0; i < 7; ++i) add("one");
  for (int i = 0; i < 1000; ++i) StepOnce(&scheduler, &step);
  // A turn of four sequences of at most 500 tokens.
  EXPECT_LE(std::abs(sequences[0]->account->service - one->account->service), 2 * 4 * 500 / 8);
  EXPECT_LT(scheduler.num_preemptions(), 200) << "turns are long enough";
}

TEST(Scheduler, PriorityTakesAPlaceAtOnce) {
  BlockPool pool(7);
  Scheduler scheduler({4, 32, 2, 8}, &pool);
  ScheduledStep step;
  std::vector<std::unique_ptr<Sequence>> sequences;
  const auto add = [&](int32_t prompt, int64_t priority) {
    sequences.push_back(MakeSequence(sequences.size() + 1, prompt));
    sequences.back()->level = priority;
    scheduler.Add(sequences.back().get());
  };
  add(4, 5);
  add(4, 5);
  EXPECT_EQ(StepOnce(&scheduler, &step), "1:0-4* 2:0-4*");
  add(4, 4);
  EXPECT_EQ(StepOnce(&scheduler, &step), "1:4-5* 3:0-4*") << "2 is the younger one";
  add(16, 0);
  EXPECT_EQ(StepOnce(&scheduler, &step), "3:4-5* 4:0-16*") << "1 was the last of them";
  add(24, -1);
  EXPECT_EQ(StepOnce(&scheduler, &step), "5:0-24*");
  EXPECT_EQ(scheduler.num_running(), 1) << "both had to go";
}

// Many clients, each with one endless answer, and few places: all of them get on.
TEST(Scheduler, ACrowdTakesTurns) {
  BlockPool pool(1000);
  Scheduler scheduler({.block_size = 4,
                       .max_batch_tokens = 64,
                       .max_running = 3,
                       .max_logit_rows = 8,
                       .turn_tokens = 8},
                      &pool);
  ScheduledStep step;
  std::vector<std::unique_ptr<Sequence>> sequences;
  for (uint64_t i = 0; i < 12; ++i) {
    sequences.push_back(MakeSequence(i + 1, 4));
    sequences.back()->client = std::to_string(i);
    scheduler.Add(sequences.back().get());
  }
  for (int i = 0; i < 400; ++i) StepOnce(&scheduler, &step);
  int32_t least = 1000, most = 0;
  for (const auto& sequence : sequences) {
    least = std::min(least, sequence->size() - 4);
    most = std::max(most, sequence->size() - 4);
  }
  EXPECT_GT(least, 70) << "of 100 each";
  EXPECT_LT(most, 130);
}

TEST(SchedulerDeathTest, RefusesWhatCanNeverRun) {
  BlockPool pool(2);
  Scheduler scheduler({2, 8, 4, 8}, &pool);
  const auto a = MakeSequence(1, 5);
  EXPECT_DEATH(scheduler.Add(a.get()), "can never run");
  EXPECT_DEATH(Scheduler({2, 3, 4, 8}, &pool), "check failed");
}

TEST(Scheduler, ACachedBeginningIsNotComputedAgain) {
  BlockPool pool(20);
  Scheduler scheduler({.block_size = 4,
                       .max_batch_tokens = 32,
                       .max_running = 4,
                       .max_logit_rows = 8,
                       .prefix_caching = true},
                      &pool);
  ScheduledStep step;
  const auto first = MakeSequence(1, 11);
  const auto second = MakeSequence(2, 11);
  const auto whole = MakeSequence(3, 8);
  const auto logits = MakeSequence(4, 11, true);
  scheduler.Add(first.get());
  EXPECT_EQ(StepOnce(&scheduler, &step), "1:0-11*");
  EXPECT_EQ(step.num_cached_tokens, 0);
  scheduler.Remove(first.get());
  scheduler.Add(second.get());
  scheduler.Add(whole.get());
  EXPECT_EQ(StepOnce(&scheduler, &step), "2:8-11* 3:4-8*");  // the last token must be computed
  EXPECT_EQ(step.num_cached_tokens, 12);
  EXPECT_EQ(step.num_new_tokens, 19);
  EXPECT_EQ(second->blocks[0], whole->blocks[0]);
  scheduler.Remove(second.get());
  scheduler.Remove(whole.get());
  scheduler.Add(logits.get());
  EXPECT_EQ(StepOnce(&scheduler, &step), "4:0-8");  // all of its prompt's logits are wanted
  EXPECT_EQ(step.num_cached_tokens, 0);
  scheduler.Remove(logits.get());
  EXPECT_EQ(pool.num_used(), 0);
}

}  // namespace
}  // namespace tessera
