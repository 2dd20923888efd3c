#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <set>
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

TEST(Scheduler, PreemptsTheYoungestAndRecomputesIt) {
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

TEST(SchedulerDeathTest, RefusesWhatCanNeverRun) {
  BlockPool pool(2);
  Scheduler scheduler({2, 8, 4, 8}, &pool);
  const auto a = MakeSequence(1, 5);
  EXPECT_DEATH(scheduler.Add(a.get()), "can never run");
  EXPECT_DEATH(Scheduler({2, 3, 4, 8}, &pool), "check failed");
}

// What a slot of the cache depends on: the token and all before it.
uint64_t Extend(uint64_t prefix, int32_t token) {
  return (prefix ^ static_cast<uint64_t>(token)) * 0x9e3779b97f4a7c15u + 1;
}

// A workload at random, with the cache played by a table that remembers which tokens each slot was
// computed from.
class Workload {
 public:
  Workload(uint32_t seed, bool prefix_caching) : random_(seed) {
    options_.prefix_caching = prefix_caching;
    options_.block_size = Draw(1, 5);
    options_.max_running = Draw(1, 9);
    options_.max_batch_tokens = options_.max_running + Draw(0, 20);
    options_.max_logit_rows = options_.max_running + Draw(0, 6);
    pool_ = std::make_unique<BlockPool>(Draw(1, 24));
    scheduler_ = std::make_unique<Scheduler>(options_, pool_.get());
    slots_.resize(static_cast<size_t>(pool_->num_blocks() * options_.block_size));
    limit_ = pool_->num_blocks() * options_.block_size;
    arrivals_ = Draw(1, 100);
  }

  void Step() {
    if (Draw(0, 99) < arrivals_ && live_.size() < 50) Arrive();
    if (Draw(0, 99) < 5 && !live_.empty()) {
      Remove(static_cast<size_t>(Draw(0, static_cast<int32_t>(live_.size()) - 1)));
    }
    Schedule();
    CheckStep();
    scheduler_->Complete(step_);
    Emit();
    const Status status = scheduler_->CheckIntegrity();
    ASSERT_TRUE(status.ok()) << status.error().message;
  }

  void Drain() {
    while (!live_.empty()) {
      const uint64_t oldest = live_.front().sequence->id;
      const int32_t before = Missing(live_.front());
      Schedule();
      CheckStep();
      scheduler_->Complete(step_);
      Emit();
      // The oldest sequence gains ground in every single step: so every one of them ends.
      if (!live_.empty() && live_.front().sequence->id == oldest) {
        ASSERT_LT(Missing(live_.front()), before);
      }
    }
    EXPECT_TRUE(scheduler_->idle());
    EXPECT_EQ(pool_->num_used(), 0);
  }

  int64_t preemptions() const { return scheduler_->num_preemptions(); }
  int64_t finished() const { return finished_; }
  int64_t cached_tokens() const { return cached_tokens_; }

 private:
  struct Live {
    std::unique_ptr<Sequence> sequence;
    int32_t final_size = 0;
    std::vector<bool> prompt_logits;  // prompt positions whose logits came
    bool wants_prompt_logits = false;
  };
  struct Slot {
    uint64_t prefix = 0;
    int32_t position = -1;
  };

  int32_t Draw(int32_t low, int32_t high) {
    return std::uniform_int_distribution<int32_t>(low, high)(random_);
  }

  static int32_t Missing(const Live& live) { return live.final_size - live.sequence->num_computed; }

  void Arrive() {
    // The last token that a sequence gets is never computed: it needs no slot.
    const int32_t size = Draw(2, limit_ + 1);
    const int32_t prompt = Draw(1, size - 1);
    Live live;
    live.wants_prompt_logits = Draw(0, 3) == 0;
    live.sequence = MakeSequence(++last_id_, prompt, live.wants_prompt_logits);
    // Few different tokens, and mostly the same ones at the beginning.
    const int32_t common = Draw(0, prompt);
    for (int32_t i = common; i < prompt; ++i) {
      live.sequence->tokens[static_cast<size_t>(i)] = Draw(1, 2);
    }
    live.final_size = size;
    live.prompt_logits.assign(static_cast<size_t>(prompt), false);
    scheduler_->Add(live.sequence.get());
    live_.push_back(std::move(live));
  }

  void Remove(size_t index) {
    scheduler_->Remove(live_[index].sequence.get());
    live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(index));
  }

  void Schedule() {
    ran_before_.clear();
    for (const Live& live : live_) {
      if (live.sequence->running) ran_before_.insert(live.sequence->id);
    }
    scheduler_->Schedule(&step_);
  }

  Live& Find(uint64_t id) {
    return *std::find_if(live_.begin(), live_.end(),
                         [&](const Live& live) { return live.sequence->id == id; });
  }

  Slot& SlotOf(const Sequence& sequence, int32_t position) {
    const int32_t block = sequence.blocks[static_cast<size_t>(position / options_.block_size)];
    return slots_[static_cast<size_t>(block * options_.block_size +
                                      position % options_.block_size)];
  }

  void CheckStep() {
    ASSERT_EQ(step_.empty(), live_.empty());
    std::set<uint64_t> scheduled;
    int32_t tokens = 0;
    int32_t logit_rows = 0;
    bool prefill_seen = false;
    for (const ScheduledChunk& chunk : step_.chunks) {
      const Sequence& sequence = *chunk.sequence;
      ASSERT_TRUE(sequence.running);
      ASSERT_TRUE(scheduled.insert(sequence.id).second) << "twice in a step";
      ASSERT_EQ(chunk.begin, sequence.num_computed);
      ASSERT_LT(chunk.begin, chunk.end);
      ASSERT_LE(chunk.end, sequence.size());
      ASSERT_GE(static_cast<int32_t>(sequence.blocks.size()) * options_.block_size, chunk.end);
      // A newcomer that lacks but its last token is no decode yet.
      const bool decode = sequence.decoding() && ran_before_.count(sequence.id) > 0;
      ASSERT_FALSE(prefill_seen && decode) << "decodes come first";
      prefill_seen |= !decode;
      tokens += chunk.rows();
      logit_rows += chunk.num_logit_rows();
      for (int32_t p = chunk.first_prompt_logit(); p < chunk.last_prompt_logit(); ++p) {
        auto&& seen = Find(sequence.id).prompt_logits[static_cast<size_t>(p)];
        ASSERT_FALSE(seen) << "prompt logits come once";
        seen = true;
      }
    }
    ASSERT_EQ(tokens, step_.num_tokens);
    ASSERT_EQ(logit_rows, step_.num_logit_rows);
    ASSERT_LE(tokens, options_.max_batch_tokens);
    ASSERT_LE(logit_rows, options_.max_logit_rows);
    ASSERT_LE(scheduler_->num_running(), options_.max_running);
    // First come, first served: whoever runs is older than whoever waits, and the oldest works.
    bool waiting_seen = false;
    for (const Live& live : live_) {
      ASSERT_FALSE(waiting_seen && live.sequence->running) << "overtaken";
      waiting_seen |= !live.sequence->running;
      if (live.sequence->running && live.sequence->decoding()) {
        ASSERT_TRUE(scheduled.count(live.sequence->id)) << "a decode was left out";
      }
    }
    if (!live_.empty()) {
      ASSERT_TRUE(scheduled.count(live_.front().sequence->id));
    }
  }

  // Plays the model: writes the rows, reads the context, appends tokens, ends what is complete.
  void Emit() {
    cached_tokens_ += step_.num_cached_tokens;
    for (const ScheduledChunk& chunk : step_.chunks) {
      uint64_t prefix = 0;
      for (int32_t p = 0; p < chunk.end; ++p) {
        prefix = Extend(prefix, chunk.sequence->tokens[static_cast<size_t>(p)]);
        if (p >= chunk.begin) SlotOf(*chunk.sequence, p) = {prefix, p};
      }
    }
    for (const ScheduledChunk& chunk : step_.chunks) {
      Sequence* sequence = chunk.sequence;
      uint64_t prefix = 0;
      for (int32_t p = 0; p < chunk.end; ++p) {
        prefix = Extend(prefix, sequence->tokens[static_cast<size_t>(p)]);
        const Slot& slot = SlotOf(*sequence, p);
        ASSERT_TRUE(slot.prefix == prefix && slot.position == p) << "a slot was overwritten";
      }
      if (chunk.end == sequence->size()) sequence->tokens.push_back(Draw(1, 2));
    }
    for (size_t i = 0; i < live_.size();) {
      const Live& live = live_[i];
      if (live.sequence->size() < live.final_size) {
        ++i;
        continue;
      }
      for (size_t p = 0; p + 1 < live.prompt_logits.size(); ++p) {
        ASSERT_EQ(live.prompt_logits[p], live.wants_prompt_logits);
      }
      Remove(i);
      ++finished_;
    }
  }

  std::mt19937 random_;
  SchedulerOptions options_;
  std::unique_ptr<BlockPool> pool_;
  std::unique_ptr<Scheduler> scheduler_;
  std::vector<Slot> slots_;
  std::vector<Live> live_;  // by id
  ScheduledStep step_;
  std::set<uint64_t> ran_before_;
  int32_t limit_ = 0;
  int32_t arrivals_ = 0;  // percent of steps that bring one
  uint64_t last_id_ = 0;
  int64_t finished_ = 0;
  int64_t cached_tokens_ = 0;
};

// 1e5 steps each with and without a prefix cache, besides those of draining.
TEST(SchedulerProperty, RandomWorkloads) {
  for (const bool prefix_caching : {false, true}) {
    int64_t preemptions = 0, finished = 0, cached_tokens = 0;
    for (uint32_t seed = 0; seed < 500; ++seed) {
      SCOPED_TRACE(seed);
      Workload workload(seed, prefix_caching);
      for (int step = 0; step < 200; ++step) {
        workload.Step();
        if (HasFatalFailure()) return;
      }
      workload.Drain();
      if (HasFatalFailure()) return;
      preemptions += workload.preemptions();
      finished += workload.finished();
      cached_tokens += workload.cached_tokens();
    }
    EXPECT_GT(preemptions, 1000);
    EXPECT_GT(finished, 10000);
    EXPECT_EQ(cached_tokens > 10000, prefix_caching) << cached_tokens;
  }
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
