// The scheduler's invariants (README.md) under random workloads.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/scheduler.h"
#include "engine/testing/make_sequence.h"

namespace tessera {
namespace {

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
    options_.ageing_steps = Draw(1, 60);
    options_.turn_tokens = Draw(1, 12);
    pool_ = std::make_unique<BlockPool>(Draw(1, 24));
    scheduler_ = std::make_unique<Scheduler>(options_, pool_.get());
    slots_.resize(static_cast<size_t>(pool_->num_blocks() * options_.block_size));
    limit_ = pool_->num_blocks() * options_.block_size;
    arrivals_ = Draw(1, 100);
    num_priorities_ = Draw(1, 4);
    num_clients_ = Draw(1, 5);
    patience_ = Draw(20, 400);
    most_drafts_ = std::max(0, Draw(-4, 8));
  }

  void Step() {
    ++now_;
    Expire();
    if (Draw(0, 99) < arrivals_ && live_.size() < 50) Arrive();
    if (Draw(0, 99) < 5 && !live_.empty()) {
      Remove(static_cast<size_t>(Draw(0, static_cast<int32_t>(live_.size()) - 1)));
    }
    Schedule();
    CheckStep();
    Play();
    scheduler_->Complete(step_);
    Emit();
    const Status status = scheduler_->CheckIntegrity();
    ASSERT_TRUE(status.ok()) << status.error().message;
  }

  void Drain() {
    // Each turn makes a token, and may cost the computation of all the tokens before it.
    int64_t most_steps = 0;
    for (const Live& live : live_) most_steps += int64_t{live.final_size} * (live.final_size + 1);
    for (int64_t steps = 0; !live_.empty(); ++steps) {
      ASSERT_LE(steps, most_steps) << "not everybody gets on";
      Schedule();
      CheckStep();
      // The first of those that run gains ground in every step.
      const Live& first = FirstRunning();
      const uint64_t id = first.sequence->id;
      const int32_t before = Missing(first);
      Play();
      scheduler_->Complete(step_);
      Emit();
      const auto still = Find(id);
      if (still == live_.end()) continue;
      ASSERT_LT(Missing(*still), before);
      ASSERT_TRUE(still->sequence->running);
    }
    EXPECT_TRUE(scheduler_->idle());
    EXPECT_EQ(pool_->num_used(), 0);
  }

  int64_t preemptions() const { return scheduler_->num_preemptions(); }
  int64_t finished() const { return finished_; }
  int64_t cached_tokens() const { return cached_tokens_; }
  int64_t accepted() const { return accepted_; }
  int64_t expired() const { return expired_; }
  int64_t risen() const { return risen_; }
  int64_t gave_way() const { return gave_way_; }

 private:
  struct Live {
    std::unique_ptr<Sequence> sequence;
    int32_t final_size = 0;
    int64_t priority = 0;
    int64_t deadline = 0;             // the step
    int32_t turn_start = 0;           // its size as it began to run
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
    live.sequence = testing::MakeSequence(++last_id_, prompt, live.wants_prompt_logits);
    // Few different tokens, and mostly the same ones at the beginning.
    const int32_t common = Draw(0, prompt);
    for (int32_t i = common; i < prompt; ++i) {
      live.sequence->tokens[static_cast<size_t>(i)] = Draw(1, 2);
    }
    live.priority = live.sequence->level = Draw(0, num_priorities_ - 1);
    live.sequence->client = std::to_string(Draw(1, num_clients_));
    live.deadline = now_ + Draw(1, patience_);
    live.final_size = size;
    live.prompt_logits.assign(static_cast<size_t>(prompt), false);
    scheduler_->Add(live.sequence.get());
    live_.push_back(std::move(live));
  }

  // As cancelled requests, those that are late end between two steps, wherever they are.
  void Expire() {
    for (size_t i = live_.size(); i-- > 0;) {
      if (live_[i].deadline > now_) continue;
      Remove(i);
      ++expired_;
    }
  }

  void Remove(size_t index) {
    risen_ += live_[index].sequence->level < live_[index].priority ? 1 : 0;
    scheduler_->Remove(live_[index].sequence.get());
    live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(index));
  }

  void Schedule() {
    ran_before_.clear();
    service_before_.clear();
    for (const Live& live : live_) {
      service_before_[live.sequence->client] = live.sequence->account->service;
      if (live.sequence->running) ran_before_.insert(live.sequence->id);
    }
    scheduler_->Schedule(&step_);
    for (Live& live : live_) {
      const bool ran = ran_before_.count(live.sequence->id) > 0;
      if (live.sequence->running && !ran) live.turn_start = live.sequence->size();
    }
  }

  // Whether `left` had a reason to give its place to `waits`.
  bool GivesWay(const Live& left, const Live& waits) {
    const Sequence& from = *left.sequence;
    const Sequence& to = *waits.sequence;
    const int32_t made = from.size() - left.turn_start;
    if (made < 1 || from.level < to.level) return false;
    if (left.priority > waits.priority && from.level > to.level) return true;
    return from.client != to.client && made >= options_.turn_tokens && made >= from.size() / 8 &&
           service_before_[from.client] > service_before_[to.client];
  }

  std::vector<Live>::iterator Find(uint64_t id) {
    return std::find_if(live_.begin(), live_.end(),
                        [&](const Live& live) { return live.sequence->id == id; });
  }

  static std::pair<int64_t, uint64_t> Order(const Live& live) {
    return {live.sequence->level, live.sequence->id};
  }

  const Live& FirstRunning() const {
    const Live* first = nullptr;
    for (const Live& live : live_) {
      if (!live.sequence->running) continue;
      if (first == nullptr || Order(live) < Order(*first)) first = &live;
    }
    return *first;
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
      ASSERT_GE(static_cast<int32_t>(sequence.blocks.size()) * options_.block_size,
                chunk.end + chunk.drafts);
      ASSERT_LE(chunk.drafts, static_cast<int32_t>(sequence.draft.size()));
      ASSERT_TRUE(chunk.drafts == 0 || (sequence.decoding() && chunk.samples()));
      // A newcomer that lacks but its last token is no decode yet.
      const bool decode = sequence.decoding() && ran_before_.count(sequence.id) > 0;
      ASSERT_FALSE(prefill_seen && decode) << "decodes come first";
      prefill_seen |= !decode;
      tokens += chunk.rows();
      logit_rows += chunk.num_logit_rows();
      for (int32_t p = chunk.first_prompt_logit(); p < chunk.last_prompt_logit(); ++p) {
        auto&& seen = Find(sequence.id)->prompt_logits[static_cast<size_t>(p)];
        ASSERT_FALSE(seen) << "prompt logits come once";
        seen = true;
      }
    }
    ASSERT_EQ(tokens, step_.num_tokens);
    ASSERT_EQ(logit_rows, step_.num_logit_rows);
    ASSERT_LE(tokens, options_.max_batch_tokens);
    ASSERT_LE(logit_rows, options_.max_logit_rows);
    ASSERT_LE(scheduler_->num_running(), options_.max_running);
    for (const Live& live : live_) {
      if (live.sequence->running && live.sequence->decoding()) {
        ASSERT_TRUE(scheduled.count(live.sequence->id)) << "a decode was left out";
      }
      ASSERT_LE(live.sequence->level, live.priority);
    }
    if (!live_.empty()) {
      ASSERT_TRUE(scheduled.count(FirstRunning().sequence->id));
    }
    CheckOrder();
  }

  void CheckOrder() {
    for (const Live& runs : live_) {
      if (!runs.sequence->running) continue;
      const bool newcomer = ran_before_.count(runs.sequence->id) == 0;
      for (const Live& waits : live_) {
        if (waits.sequence->running) continue;
        if (newcomer) {
          ASSERT_LE(runs.sequence->level, waits.sequence->level) << "overtaken";
          const bool same_flow = runs.sequence->level == waits.sequence->level &&
                                 runs.sequence->client == waits.sequence->client;
          ASSERT_FALSE(same_flow && runs.sequence->id > waits.sequence->id) << "overtaken";
        } else if (ran_before_.count(waits.sequence->id) > 0 && Order(runs) > Order(waits)) {
          ASSERT_TRUE(AnybodyToGiveWayTo(waits)) << "the wrong one was preempted";
          ++gave_way_;
        }
      }
    }
  }

  // Who took the place, or would have, had there been blocks for the decodes.
  bool AnybodyToGiveWayTo(const Live& left) {
    return std::any_of(live_.begin(), live_.end(), [&](const Live& other) {
      return ran_before_.count(other.sequence->id) == 0 && GivesWay(left, other);
    });
  }

  // What the row at position p of a chunk's sequence holds: a token, or after them a guess.
  static int32_t TokenAt(const Sequence& sequence, int32_t p) {
    return p < sequence.size() ? sequence.tokens[static_cast<size_t>(p)]
                               : sequence.draft[static_cast<size_t>(p - sequence.size())];
  }

  // Plays the model: writes the rows, reads the context, says which guesses are right.
  void Play() {
    cached_tokens_ += step_.num_cached_tokens;
    for (const ScheduledChunk& chunk : step_.chunks) {
      uint64_t prefix = 0;
      for (int32_t p = 0; p < chunk.end + chunk.drafts; ++p) {
        prefix = Extend(prefix, TokenAt(*chunk.sequence, p));
        if (p >= chunk.begin) SlotOf(*chunk.sequence, p) = {prefix, p};
      }
    }
    for (ScheduledChunk& chunk : step_.chunks) {
      uint64_t prefix = 0;
      for (int32_t p = 0; p < chunk.end + chunk.drafts; ++p) {
        prefix = Extend(prefix, TokenAt(*chunk.sequence, p));
        const Slot& slot = SlotOf(*chunk.sequence, p);
        ASSERT_TRUE(slot.prefix == prefix && slot.position == p) << "a slot was overwritten";
      }
      chunk.accepted = Draw(0, chunk.drafts);
      accepted_ += chunk.accepted;
    }
  }

  // Appends what the step made, guesses again, ends what is complete.
  void Emit() {
    for (const ScheduledChunk& chunk : step_.chunks) {
      Sequence* sequence = chunk.sequence;
      if (!chunk.samples()) continue;
      std::vector<int32_t>& draft = sequence->draft;
      const auto accepted = draft.begin() + chunk.accepted;
      sequence->tokens.insert(sequence->tokens.end(), draft.begin(), accepted);
      sequence->tokens.push_back(Draw(1, 2));
      const int32_t room = Find(sequence->id)->final_size - sequence->size();
      draft.resize(static_cast<size_t>(std::clamp(room - 1, 0, Draw(0, most_drafts_))));
      for (int32_t& token : draft) token = Draw(1, 2);
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
  std::map<std::string, int64_t> service_before_;  // of each client
  int32_t limit_ = 0;
  int32_t arrivals_ = 0;  // percent of steps that bring one
  int32_t num_priorities_ = 1;
  int32_t num_clients_ = 1;
  int32_t patience_ = 1;     // steps that a request allows at most
  int32_t most_drafts_ = 0;  // guesses of a sequence in one step
  int64_t now_ = 0;
  uint64_t last_id_ = 0;
  int64_t finished_ = 0;
  int64_t cached_tokens_ = 0;
  int64_t accepted_ = 0;
  int64_t expired_ = 0;
  int64_t risen_ = 0;  // who ended at a better level than its own
  int64_t gave_way_ = 0;
};

// 1e5 steps each with and without a prefix cache, besides those of draining.
TEST(SchedulerProperty, RandomWorkloads) {
  for (const bool prefix_caching : {false, true}) {
    int64_t preemptions = 0, finished = 0, cached_tokens = 0, expired = 0, risen = 0;
    int64_t accepted = 0, gave_way = 0;
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
      expired += workload.expired();
      risen += workload.risen();
      gave_way += workload.gave_way();
      accepted += workload.accepted();
    }
    EXPECT_GT(preemptions, 1000);
    EXPECT_GT(finished, 10000);
    EXPECT_GT(expired, 1000);
    EXPECT_GT(risen, 1000);
    EXPECT_GT(gave_way, 1000);
    EXPECT_GT(accepted, 10000);
    EXPECT_EQ(cached_tokens > 10000, prefix_caching) << cached_tokens;
  }
}

}  // namespace
}  // namespace tessera
