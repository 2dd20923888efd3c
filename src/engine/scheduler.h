// The scheduler: which rows of which sequences form the next step. Pure bookkeeping over numbers;
// README.md beside this file states its invariants.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "engine/block_pool.h"
#include "engine/fair_share.h"
#include "engine/sequence.h"
#include "engine/waiting_queue.h"

namespace tessera {

struct SchedulerOptions {
  int32_t block_size = 16;
  int32_t max_batch_tokens = 2048;  // rows of a step; at least max_running
  int32_t max_running = 256;        // sequences of a step
  int32_t max_logit_rows = 256;     // rows of a step whose logits are wanted; at least max_running
  bool prefix_caching = false;      // blocks are found again by what they contain
  int64_t ageing_steps = 1000;      // that nothing is taken of a flow until it ages
  int32_t turn_tokens = 64;         // that a sequence makes before it gives way to another client's
};

// The tokens [begin, end) of a sequence are rows of the step, and after them the first `drafts` of
// its guesses.
struct ScheduledChunk {
  Sequence* sequence = nullptr;  // null: it was removed after the step was scheduled
  int32_t begin = 0;
  int32_t end = 0;
  int32_t drafts = 0;
  int32_t accepted = 0;  // how many of these were right: to be set before Scheduler::Complete
  uint64_t id = 0;       // the sequence's

  int32_t rows() const { return end - begin + drafts; }
  // Whether the step makes new tokens for the sequence: the logits of the row of its last token are
  // wanted, and those of its guesses.
  bool samples() const { return end == sequence->size(); }
  // Prompt rows whose logits are wanted beyond that: the positions [first, last).
  int32_t first_prompt_logit() const;
  int32_t last_prompt_logit() const;
  int32_t num_logit_rows() const;
};

struct ScheduledStep {
  std::vector<ScheduledChunk> chunks;  // decodes first
  int32_t num_tokens = 0;
  int32_t num_prefill_tokens = 0;
  int32_t num_logit_rows = 0;
  int32_t num_draft_tokens = 0;
  // Of newcomers: their tokens, and how many of these the prefix cache had.
  int32_t num_new_tokens = 0;
  int32_t num_cached_tokens = 0;

  bool empty() const { return chunks.empty(); }
};

// Not thread-safe. `pool` outlives the scheduler.
class Scheduler {
 public:
  Scheduler(const SchedulerOptions& options, BlockPool* pool);

  // Puts a new sequence in the queue; its id is the largest so far. Alone it must fit the pool,
  // with all the tokens it will ever have.
  void Add(Sequence* sequence);

  // Forgets a sequence, wherever it is, and frees its blocks. O(log n + blocks).
  void Remove(Sequence* sequence);

  // Chooses the next step's rows and provides their blocks; every running sequence has a row of the
  // block tables for as long as it runs, below max_running. Empty only if nothing
  // waits or runs. `step` is overwritten; its memory is reused.
  void Schedule(ScheduledStep* step);

  // The step's rows lie in the cache now, those of wrong guesses aside, or will before anything
  // that is submitted later runs. Sampled tokens are appended (or awaited) afterwards: if
  // guesses were accepted, these and one more. All tokens of the step's rows are known by now.
  void Complete(const ScheduledStep& step);

  int32_t num_waiting() const { return waiting_.size(); }
  int32_t num_running() const { return static_cast<int32_t>(running_.size()); }
  bool idle() const { return waiting_.empty() && running_.empty(); }
  int64_t num_preemptions() const { return num_preemptions_; }

  // Whether blocks and sequences belong together as README.md says. O(blocks + sequences).
  Status CheckIntegrity() const;

 private:
  int32_t BlocksFor(int32_t tokens) const;
  bool ProvideBlocks(Sequence* sequence);
  bool GivesWay(const Sequence& running, const Sequence& waiting) const;
  bool TakeTurns();
  void Age();
  void Preempt(Sequence* sequence);
  void MatchPrefix(Sequence* sequence);
  void ScheduleChunk(Sequence* sequence, ScheduledStep* step);
  void ScheduleDrafts(ScheduledStep* step);
  void ReleaseDraftBlocks(Sequence* sequence);
  void Release(Sequence* sequence);

  const SchedulerOptions options_;
  BlockPool* const pool_;
  PrefixCache prefixes_;
  FairShare clients_;
  WaitingQueue waiting_;
  // By level, then by arrival: the last one is preempted first.
  std::map<std::pair<int64_t, uint64_t>, Sequence*> running_;
  std::vector<int32_t> free_rows_;  // of the block tables, as a heap: the lowest goes first
  uint64_t admissions_ = 0;
  int64_t step_ = 0;
  uint64_t last_id_ = 0;
  int64_t num_preemptions_ = 0;
};

}  // namespace tessera
