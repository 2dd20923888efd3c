// The KV cache's blocks, by number: who holds which. Nothing here knows what a block contains.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "tessera/result.h"

namespace tessera {

// Blocks 0 .. num_blocks-1, each free or held by one or more references. A free block may be
// retained: what it contains is still of use, and it can be held again as it is. Every operation is
// O(1).
//
// Of the free blocks those without use are given out first, the one that became free last at their
// head: its memory is the likeliest to be in the processor's cache. Then come the retained ones,
// the one that became free first at their head. Not thread-safe.
class BlockPool {
 public:
  static constexpr int32_t kNoBlock = -1;

  explicit BlockPool(int32_t num_blocks);

  int32_t num_blocks() const { return static_cast<int32_t>(references_.size()); }
  int32_t num_free() const { return static_cast<int32_t>(free_.size()) + num_retained_free_; }
  int32_t num_used() const { return num_blocks() - num_free(); }
  int32_t references(int32_t block) const { return references_[CheckedIndex(block)]; }

  // A free block, now with one reference and not retained; kNoBlock if none is free.
  int32_t Allocate();

  // One more holder of a block that is held or retained.
  void AddReference(int32_t block);

  // Gives one reference back; with the last one the block becomes free.
  void Release(int32_t block);

  // A block's content is of use from now on, or no longer.
  void Retain(int32_t block);
  void Discard(int32_t block);
  bool retained(int32_t block) const { return links_[CheckedIndex(block)].retained; }

  // Called with a retained block that Allocate() gives out, before it does.
  void OnEviction(std::function<void(int32_t)> callback) { on_eviction_ = std::move(callback); }

  // Whether every block is in exactly one of the places where it can be. O(num_blocks).
  Status CheckIntegrity() const;

 private:
  // A doubly linked list through the retained free blocks; entry num_blocks is its head and tail.
  struct Link {
    int32_t previous = kNoBlock;
    int32_t next = kNoBlock;
    bool retained = false;
  };

  size_t CheckedIndex(int32_t block) const;
  void Append(int32_t block);
  void Unlink(int32_t block);

  std::vector<int32_t> references_;  // [num_blocks], 0: free
  std::vector<int32_t> free_;        // a stack of those that are not retained
  std::vector<Link> links_;          // [num_blocks + 1]
  int32_t num_retained_free_ = 0;
  std::function<void(int32_t)> on_eviction_;
};

}  // namespace tessera
