// The sequences that wait, and who of them is next.
#pragma once

#include <cstdint>
#include <map>

#include "engine/sequence.h"

namespace tessera {

// The order: the lowest level, then the client that has received least, then the first to arrive.
// The sequences of one client and level are a flow, and keep their order whatever happens. A flow
// of which nothing was taken for `ageing_steps` steps lets its first sequence rise by one level,
// for good: so everybody becomes the first at some time. Not thread-safe.
class WaitingQueue {
 public:
  explicit WaitingQueue(int64_t ageing_steps) : ageing_steps_(ageing_steps) {}

  // `sequence` has its level and its account. `step`: the present.
  void Add(Sequence* sequence, int64_t step);
  void Remove(const Sequence* sequence);

  // The next one. O(clients of its level). The queue is not empty.
  Sequence* First() const;
  // Removes First(), which runs from now on.
  void TakeFirst(int64_t step);

  // Raises who has waited too long. O(flows).
  void Age(int64_t step);

  bool empty() const { return size_ == 0; }
  int32_t size() const { return size_; }

  template <typename Function>
  void ForEach(Function function) const {
    for (const auto& [level, flows] : levels_) {
      for (const auto& [account, flow] : flows) {
        for (const auto& [id, sequence] : flow.sequences) function(*sequence);
      }
    }
  }

 private:
  struct Flow {
    std::map<uint64_t, Sequence*> sequences;  // by id, never empty
    int64_t last_taken = 0;                   // the step
  };
  using Flows = std::map<const ClientAccount*, Flow>;

  const int64_t ageing_steps_;
  std::map<int64_t, Flows> levels_;
  int32_t size_ = 0;
};

}  // namespace tessera
