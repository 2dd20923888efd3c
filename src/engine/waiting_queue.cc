#include "engine/waiting_queue.h"

#include <algorithm>
#include <vector>

#include "engine/fair_share.h"
#include "tessera/result.h"

namespace tessera {

void WaitingQueue::Add(Sequence* sequence, int64_t step) {
  TESSERA_CHECK(sequence->account != nullptr);
  sequence->waiting_since = step;
  Flow& flow = levels_[sequence->level][sequence->account];
  if (flow.sequences.empty()) flow.progress_taken = taken_;
  flow.sequences.emplace(sequence->id, sequence);
  ++size_;
}

void WaitingQueue::Remove(const Sequence* sequence) {
  const auto level = levels_.find(sequence->level);
  TESSERA_CHECK(level != levels_.end(), "the sequence does not wait");
  const auto flow = level->second.find(sequence->account);
  TESSERA_CHECK(flow != level->second.end() && flow->second.sequences.erase(sequence->id) == 1,
                "the sequence does not wait");
  --size_;
  if (!flow->second.sequences.empty()) return;
  level->second.erase(flow);
  if (level->second.empty()) levels_.erase(level);
}

Sequence* WaitingQueue::First() const {
  TESSERA_CHECK(!empty());
  Sequence* best = nullptr;
  for (const auto& [account, flow] : levels_.begin()->second) {
    Sequence* head = flow.sequences.begin()->second;
    const bool better = best == nullptr || account->service < best->account->service ||
                        (account->service == best->account->service && head->id < best->id);
    if (better) best = head;
  }
  return best;
}

void WaitingQueue::TakeFirst(int64_t step) {
  Sequence* first = First();
  Flow& flow = levels_.at(first->level).at(first->account);
  flow.progress_step = step;
  flow.progress_taken = ++taken_;
  Remove(first);
}

void WaitingQueue::Age(int64_t step, int64_t running_level, const std::function<int64_t()>& least) {
  if (empty()) return;
  const int64_t best = std::min(running_level, levels_.begin()->first);
  std::vector<Sequence*> rising;
  for (auto& [level, flows] : levels_) {
    for (auto& [account, flow] : flows) {
      Sequence* head = flow.sequences.begin()->second;
      if (level == best) {
        if (taken_ - flow.progress_taken < patience_) continue;
        flow.progress_taken = taken_;
        account->service = least();
      } else if (step - std::max(flow.progress_step, head->waiting_since) >= patience_) {
        flow.progress_step = step;
        rising.push_back(head);
      }
    }
  }
  for (Sequence* sequence : rising) {
    Remove(sequence);
    // Half of the way, so that no priority is so bad that it takes for ever.
    sequence->level -= (sequence->level - best + 1) / 2;
    Add(sequence, step);
  }
}

}  // namespace tessera
