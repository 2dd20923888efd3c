#include "engine/scheduler.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <string>
#include <tuple>
#include <utility>

namespace tessera {

int32_t ScheduledChunk::first_prompt_logit() const {
  return std::max(begin, sequence->prompt_logits_from);
}

int32_t ScheduledChunk::last_prompt_logit() const {
  return std::max(first_prompt_logit(), std::min(end, sequence->num_prompt_tokens - 1));
}

int32_t ScheduledChunk::num_logit_rows() const {
  return last_prompt_logit() - first_prompt_logit() + (samples() ? 1 : 0) + drafts;
}

Scheduler::Scheduler(const SchedulerOptions& options, BlockPool* pool)
    : options_(options),
      pool_(pool),
      prefixes_(pool, options.block_size),
      waiting_(options.ageing_steps) {
  TESSERA_CHECK(options.block_size > 0 && options.max_running > 0 && options.ageing_steps > 0 &&
                options.turn_tokens > 0 && options.max_batch_tokens >= options.max_running &&
                options.max_logit_rows >= options.max_running);
  for (int32_t row = 0; row < options.max_running; ++row) free_rows_.push_back(row);
}

int32_t Scheduler::BlocksFor(int32_t tokens) const {
  return tokens / options_.block_size + (tokens % options_.block_size != 0 ? 1 : 0);
}

void Scheduler::Add(Sequence* sequence) {
  TESSERA_CHECK(sequence->id > last_id_, "sequences are added in order of their ids");
  TESSERA_CHECK(sequence->size() > 0 && BlocksFor(sequence->size()) <= pool_->num_blocks(),
                "a sequence of " + std::to_string(sequence->size()) + " tokens can never run");
  TESSERA_CHECK(sequence->num_computed == 0 && sequence->blocks.empty() && !sequence->running);
  last_id_ = sequence->id;
  sequence->priority = sequence->level;
  sequence->account = clients_.Enter(sequence->client);
  waiting_.Add(sequence, step_);
}

void Scheduler::Remove(Sequence* sequence) {
  if (sequence->running) {
    const size_t erased = running_.erase({sequence->level, sequence->id});
    TESSERA_CHECK(erased == 1,
                  "sequence " + std::to_string(sequence->id) + " is not scheduled here");
  } else {
    waiting_.Remove(sequence);
  }
  Release(sequence);
  clients_.Leave(sequence->client);
  sequence->account = nullptr;
}

void Scheduler::Release(Sequence* sequence) {
  // Backwards, so that the pool's stack gives them out in the same order again.
  for (auto block = sequence->blocks.rbegin(); block != sequence->blocks.rend(); ++block) {
    pool_->Release(*block);
  }
  sequence->blocks.clear();
  sequence->known = {};
  sequence->draft.clear();
  sequence->num_computed = 0;
  sequence->running = false;
  if (sequence->row < 0) return;
  free_rows_.push_back(std::exchange(sequence->row, -1));  // it was there before: no allocation
  std::push_heap(free_rows_.begin(), free_rows_.end(), std::greater<>());
}

// Gives a newcomer the blocks of its beginning that are known. At least one token is left to
// compute, whose logits make the next one; and so is all whose prompt logits are wanted.
void Scheduler::MatchPrefix(Sequence* sequence) {
  if (!options_.prefix_caching) return;
  int32_t tokens = sequence->size() - 1;
  if (sequence->prompt_logits_from < sequence->num_prompt_tokens - 1) {
    tokens = std::min(tokens, sequence->prompt_logits_from);
  }
  prefixes_.Match(sequence->tokens, tokens / options_.block_size, &sequence->blocks,
                  &sequence->known);
  sequence->num_computed = sequence->known.blocks * options_.block_size;
}

void Scheduler::Preempt(Sequence* sequence) {
  running_.erase({sequence->level, sequence->id});
  Release(sequence);
  waiting_.Add(sequence, step_);
  ++num_preemptions_;
}

// A turn makes at least one token: however often a sequence gives way, it ends. And it makes more
// the longer the sequence is, since all that the prefix cache loses has to be computed again.
bool Scheduler::GivesWay(const Sequence& running, const Sequence& waiting) const {
  const int32_t made = running.size() - running.turn_start;
  if (made == 0 || running.level < waiting.level) return false;
  if (running.level > waiting.level && running.priority > waiting.priority) return true;
  return made >= std::max(options_.turn_tokens, running.size() / 8) &&
         running.account->service - waiting.account->service >
             kOutputTokenService * options_.turn_tokens;
}

// If the first of those that wait finds no place, running ones give way to it if that makes one.
// Whether some did.
bool Scheduler::TakeTurns() {
  if (waiting_.empty()) return false;
  Sequence* const next = waiting_.First();
  const auto missing = [this](const Sequence& sequence) {
    return BlocksFor(sequence.size()) - static_cast<int64_t>(sequence.blocks.size());
  };
  const auto rows_of = [](const Sequence& sequence) {
    return int64_t{sequence.size()} - sequence.num_computed;
  };
  std::vector<Sequence*> leaving;
  int64_t missing_blocks = 0;
  int64_t rows = 0;  // that those who run have to compute
  for (const auto& [order, sequence] : running_) {
    missing_blocks += missing(*sequence);
    rows += rows_of(*sequence);
    if (GivesWay(*sequence, *next)) leaving.push_back(sequence);
  }
  if (leaving.empty()) return false;
  std::sort(leaving.begin(), leaving.end(), [](const Sequence* a, const Sequence* b) {
    return std::tuple(a->level, a->account->service, a->id) >
           std::tuple(b->level, b->account->service, b->id);
  });
  MatchPrefix(next);
  int32_t running = num_running();
  int64_t free_blocks = pool_->num_free() - missing_blocks - missing(*next);
  const auto fits = [&] {
    return running < options_.max_running && running <= free_blocks &&
           rows < options_.max_batch_tokens;
  };
  size_t count = 0;
  for (; !fits() && count < leaving.size(); ++count) {
    free_blocks += missing(*leaving[count]);
    rows -= rows_of(*leaving[count]);
    // What the newcomer found in the prefix cache is held by it as well.
    for (const int32_t block : leaving[count]->blocks) {
      free_blocks += pool_->references(block) == 1 ? 1 : 0;
    }
    --running;
  }
  const bool some_leave = count > 0 && fits();
  Release(next);  // of what was matched
  if (!some_leave) return false;
  for (size_t i = 0; i < count; ++i) Preempt(leaving[i]);
  return true;
}

// Allocates blocks for all tokens, preempting lower-ranked sequences if needed. Returns false if
// `sequence` itself was preempted.
bool Scheduler::ProvideBlocks(Sequence* sequence) {
  const size_t needed = static_cast<size_t>(BlocksFor(sequence->size()));
  while (sequence->blocks.size() < needed) {
    const int32_t block = pool_->Allocate();
    if (block != BlockPool::kNoBlock) {
      sequence->blocks.push_back(block);
      continue;
    }
    Preempt(std::prev(running_.end())->second);
    if (!sequence->running) return false;
  }
  return true;
}

// Adds as many of the sequence's missing tokens as the step's budgets allow; possibly none.
void Scheduler::ScheduleChunk(Sequence* sequence, ScheduledStep* step) {
  ScheduledChunk chunk{sequence, sequence->num_computed, sequence->size()};
  chunk.id = sequence->id;
  const int32_t row_budget = options_.max_batch_tokens - step->num_tokens;
  const int32_t logit_budget = options_.max_logit_rows - step->num_logit_rows;
  chunk.end = std::min(chunk.end, chunk.begin + row_budget);
  if (chunk.num_logit_rows() > logit_budget) {
    // Without the sampling row only prompt logits count, one for each row from the first on.
    if (chunk.samples()) --chunk.end;
    if (chunk.num_logit_rows() > logit_budget)
      chunk.end = chunk.first_prompt_logit() + logit_budget;
  }
  if (chunk.rows() <= 0) return;
  step->num_tokens += chunk.rows();
  step->num_logit_rows += chunk.num_logit_rows();
  if (!sequence->decoding()) step->num_prefill_tokens += chunk.rows();
  step->chunks.push_back(chunk);
}

// Guesses get what nobody else has a use for: the rows that the step has left, and free blocks.
void Scheduler::ScheduleDrafts(ScheduledStep* step) {
  for (ScheduledChunk& chunk : step->chunks) {
    Sequence* sequence = chunk.sequence;
    if (sequence->draft.empty() || !sequence->decoding()) continue;
    int32_t count = std::min({static_cast<int32_t>(sequence->draft.size()),
                              options_.max_batch_tokens - step->num_tokens,
                              options_.max_logit_rows - step->num_logit_rows});
    std::vector<int32_t>& blocks = sequence->blocks;
    while (static_cast<int32_t>(blocks.size()) < BlocksFor(sequence->size() + count)) {
      if (pool_->num_free() == 0) {
        count = static_cast<int32_t>(blocks.size()) * options_.block_size - sequence->size();
        break;
      }
      blocks.push_back(pool_->Allocate());
    }
    chunk.drafts = count;
    step->num_tokens += count;
    step->num_logit_rows += count;
    step->num_draft_tokens += count;
  }
}

// Blocks of guesses that nothing is known to need are free again: a step without guesses finds as
// many as if there had never been one.
void Scheduler::ReleaseDraftBlocks(Sequence* sequence) {
  const size_t needed = static_cast<size_t>(BlocksFor(sequence->num_computed + 1));
  while (sequence->blocks.size() > needed) {
    pool_->Release(sequence->blocks.back());
    sequence->blocks.pop_back();
  }
}

void Scheduler::Schedule(ScheduledStep* step) {
  step->chunks.clear();
  step->num_tokens = step->num_prefill_tokens = step->num_logit_rows = 0;
  step->num_draft_tokens = 0;
  step->num_new_tokens = step->num_cached_tokens = 0;
  ++step_;
  const bool gave_way = TakeTurns();
  const int64_t preemptions = num_preemptions_;

  // Decodes in order. A preemption takes the last running sequence, which this loop has not reached
  // yet or is about to leave: what is in the step stays in it.
  for (auto it = running_.begin(); it != running_.end();) {
    Sequence* sequence = it->second;
    if (!sequence->decoding()) {
      ++it;
      continue;
    }
    if (!ProvideBlocks(sequence)) break;
    ScheduleChunk(sequence, step);
    ++it;  // only now: a preemption may have taken the former next one
  }

  // Prefills under way own all their blocks already.
  for (const auto& [order, sequence] : running_) {
    if (!sequence->decoding()) ScheduleChunk(sequence, step);
  }

  // Newcomers, strictly in order: one that does not fit holds back all others. Each running
  // sequence keeps a block in reserve, so that the newcomer is not preempted right after its
  // prefill. None if blocks were lacking: those preempted would be the first to come back.
  while (num_preemptions_ == preemptions && !waiting_.empty() &&
         num_running() < options_.max_running && step->num_tokens < options_.max_batch_tokens) {
    Sequence* sequence = waiting_.First();
    MatchPrefix(sequence);
    const int64_t needed = BlocksFor(sequence->size()) - sequence->known.blocks;
    const size_t chunks = step->chunks.size();
    if (needed + num_running() <= pool_->num_free()) ScheduleChunk(sequence, step);
    if (step->chunks.size() == chunks) {
      Release(sequence);  // of what was matched
      break;
    }
    if (sequence->decoding()) ++step->num_prefill_tokens;  // all but its last token were cached
    step->num_new_tokens += sequence->size();
    step->num_cached_tokens += sequence->num_computed;
    waiting_.TakeFirst(step_);
    running_.emplace(std::pair(sequence->level, sequence->id), sequence);
    sequence->running = true;
    std::pop_heap(free_rows_.begin(), free_rows_.end(), std::greater<>());
    sequence->row = free_rows_.back();
    free_rows_.pop_back();
    sequence->admission = ++admissions_;
    sequence->turn_start = sequence->size();
    // At once: else a client could have all its requests taken before any is paid for. What is
    // computed again after a preemption is not charged again.
    if (!std::exchange(sequence->charged, true)) {
      sequence->account->service +=
          kPromptTokenService * (sequence->size() - sequence->num_computed);
    }
    ProvideBlocks(sequence);
    if (gave_way) break;  // those who did are not the next to enter
  }
  ScheduleDrafts(step);
  TESSERA_CHECK(!step->empty() || idle(), "the scheduler found nothing to do");
}

void Scheduler::Complete(const ScheduledStep& step) {
  for (const ScheduledChunk& chunk : step.chunks) {
    if (chunk.sequence == nullptr) continue;
    TESSERA_CHECK(chunk.sequence->awaited_row < 0, "tokens are known before they are complete");
    TESSERA_CHECK(chunk.sequence->running && chunk.sequence->num_computed == chunk.begin);
    if (chunk.samples()) {
      chunk.sequence->account->service += kOutputTokenService * (1 + chunk.accepted);
    }
    chunk.sequence->num_computed = chunk.end + chunk.accepted;
    if (chunk.drafts > 0) ReleaseDraftBlocks(chunk.sequence);
    chunk.sequence->prompt_logits_from = chunk.last_prompt_logit();
    if (!options_.prefix_caching) continue;
    // Accepted guesses are no tokens of the sequence yet: the next step makes them known.
    prefixes_.Insert(chunk.sequence->tokens, chunk.sequence->blocks,
                     chunk.end / options_.block_size, &chunk.sequence->known);
  }
  Age();
}

void Scheduler::Age() {
  if (waiting_.empty()) return;
  constexpr int64_t kNobody = std::numeric_limits<int64_t>::max();
  waiting_.Age(step_, running_.empty() ? kNobody : running_.begin()->first.first,
               [this] { return clients_.Least(); });
}

Status Scheduler::CheckIntegrity() const {
  TESSERA_RETURN_IF_ERROR(pool_->CheckIntegrity());
  std::vector<int32_t> holders(static_cast<size_t>(pool_->num_blocks()), 0);
  for (const auto& [order, sequence] : running_) {
    const std::string name = "Sequence " + std::to_string(sequence->id);
    if (order != std::pair(sequence->level, sequence->id)) {
      return Internal(name + " is not where its level says.");
    }
    if (!sequence->running) return Internal(name + " is among the running ones and says no.");
    if (sequence->num_computed >= sequence->size()) {
      return Internal(name + " has nothing left to compute.");
    }
    const int32_t blocks = static_cast<int32_t>(sequence->blocks.size());
    if (BlocksFor(sequence->num_computed) > blocks) {
      return Internal(name + " has fewer blocks than its computed tokens fill.");
    }
    if (blocks > BlocksFor(sequence->size())) {
      return Internal(name + " has more blocks than its tokens fill.");
    }
    for (const int32_t block : sequence->blocks) ++holders[static_cast<size_t>(block)];
  }
  Status status;
  waiting_.ForEach([&status](const Sequence& sequence) {
    if (sequence.running || !sequence.blocks.empty() || sequence.num_computed != 0) {
      status = Internal("Sequence " + std::to_string(sequence.id) + " waits and holds blocks.");
    }
  });
  if (!status.ok()) return status;
  for (int32_t block = 0; block < pool_->num_blocks(); ++block) {
    if (holders[static_cast<size_t>(block)] != pool_->references(block)) {
      return Internal("Block " + std::to_string(block) + " has " +
                      std::to_string(pool_->references(block)) + " references and " +
                      std::to_string(holders[static_cast<size_t>(block)]) + " holders.");
    }
  }
  return {};
}

}  // namespace tessera
