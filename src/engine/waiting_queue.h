// The sequences that wait, and who of them is next.
#pragma once

#include <cstdint>
#include <functional>
#include <map>

#include "engine/sequence.h"

namespace tessera {

// The order: the lowest level, then the client that has received least, then the first to arrive.
// The sequences of one client and level are a flow, and keep their order whatever happens. Two
// rules let everybody become the first at some time, and lift nobody above those who have as good a
// priority and have received less:
// - A flow of which nothing was taken for `patience` steps lets its first sequence rise half of the
//   way to the best level.
// - Of a flow at the best level that `patience` others were preferred to, the client's account is
//   evened out: it has received as little as anybody.
// Not thread-safe.
class WaitingQueue {
 public:
  explicit WaitingQueue(int64_t patience) : patience_(patience) {}

  // `sequence` has its level and its account. `step`: the present.
  void Add(Sequence* sequence, int64_t step);
  void Remove(const Sequence* sequence);

  // The next one. O(clients of its level). The queue is not empty.
  Sequence* First() const;
  // Removes First(), which runs from now on.
  void TakeFirst(int64_t step);

  // Applies these rules. The best level is that of a sequence that waits or, as `running_level`,
  // runs; `least` tells what the client that is here and has received least has received. O(flows).
  void Age(int64_t step, int64_t running_level, const std::function<int64_t()>& least);

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
    int64_t progress_step = 0;                // when one was taken, or rose
    int64_t progress_taken = 0;               // how many had been taken from all flows then
  };
  using Flows = std::map<ClientAccount*, Flow>;

  const int64_t patience_;
  std::map<int64_t, Flows> levels_;
  int64_t taken_ = 0;
  int32_t size_ = 0;
};

}  // namespace tessera
