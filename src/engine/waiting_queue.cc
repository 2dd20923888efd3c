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
  levels_.at(first->level).at(first->account).last_taken = step;
  Remove(first);
}

void WaitingQueue::Age(int64_t step) {
  std::vector<Sequence*> rising;
  for (const auto& [level, flows] : levels_) {
    for (const auto& [account, flow] : flows) {
      Sequence* head = flow.sequences.begin()->second;
      if (step - std::max(flow.last_taken, head->waiting_since) >= ageing_steps_) {
        rising.push_back(head);
      }
    }
  }
  for (Sequence* sequence : rising) {
    Remove(sequence);
    --sequence->level;
    Add(sequence, step);
  }
}

}  // namespace tessera
