// The merges of a BPE model: which pairs of tokens become one, and which pair goes first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tessera::tokenization {

struct Merge {
  int32_t rank = -1;  // lower goes first; -1: no merge
  int32_t id = -1;    // what the pair becomes
};

// A hash table with open addressing. Merging looks up several pairs per character, most of them in
// vain; one probe of one cache line mostly answers.
class MergeTable {
 public:
  explicit MergeTable(size_t expected = 0) { Resize(expected); }

  // A pair that is there already gets the new merge.
  void Insert(int32_t left, int32_t right, Merge merge) {
    if (2 * (used_ + 1) > slots_.size()) Grow();
    Slot& slot = slots_[Find(Key(left, right))];
    if (slot.merge.rank < 0) ++used_;
    slot = Slot{Key(left, right), merge};
  }

  // `rank` of the result is -1 if the pair does not merge.
  Merge Lookup(int32_t left, int32_t right) const { return slots_[Find(Key(left, right))].merge; }

 private:
  struct Slot {
    uint64_t key = 0;
    Merge merge;  // rank -1: free
  };

  static uint64_t Key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }

  // The slot of `key`, or the free one where it would go. One slot in two is free at least.
  size_t Find(uint64_t key) const {
    const uint64_t mixed = (key ^ key >> 29) * 0x9E3779B97F4A7C15u;  // 2^64 / golden ratio
    size_t i = static_cast<size_t>(mixed >> 20) & (slots_.size() - 1);
    while (slots_[i].merge.rank >= 0 && slots_[i].key != key) i = (i + 1) & (slots_.size() - 1);
    return i;
  }

  void Resize(size_t expected) {
    size_t size = 16;
    while (size < 2 * (expected + 1)) size *= 2;
    slots_.assign(size, Slot{});
  }

  void Grow() {
    const std::vector<Slot> old = std::move(slots_);
    Resize(old.size());
    used_ = 0;
    for (const Slot& slot : old) {
      if (slot.merge.rank < 0) continue;
      slots_[Find(slot.key)] = slot;
      ++used_;
    }
  }

  std::vector<Slot> slots_;  // a power of two
  size_t used_ = 0;
};

}  // namespace tessera::tokenization
