// The KV cache's blocks, by number: who holds which. Nothing here knows what a block contains.
#pragma once

#include <cstdint>
#include <vector>

#include "tessera/result.h"

namespace tessera {

// Blocks 0 .. num_blocks-1, each free or held by one or more references. Every operation is O(1).
// A block that became free last is given out first: its memory is the likeliest to be cached.
// Not thread-safe.
class BlockPool {
 public:
  static constexpr int32_t kNoBlock = -1;

  explicit BlockPool(int32_t num_blocks);

  int32_t num_blocks() const { return static_cast<int32_t>(references_.size()); }
  int32_t num_free() const { return static_cast<int32_t>(free_.size()); }
  int32_t num_used() const { return num_blocks() - num_free(); }
  int32_t references(int32_t block) const { return references_[CheckedIndex(block)]; }

  // A free block, now with one reference; kNoBlock where none is free.
  int32_t Allocate();

  // One more holder of a block that is held already.
  void AddReference(int32_t block);

  // Gives one reference back; with the last one the block becomes free.
  void Release(int32_t block);

  // Whether every block is either on the free list, once, or referenced. O(num_blocks).
  Status CheckIntegrity() const;

 private:
  size_t CheckedIndex(int32_t block) const;

  std::vector<int32_t> references_;  // [num_blocks], 0: free
  std::vector<int32_t> free_;        // a stack
};

}  // namespace tessera
