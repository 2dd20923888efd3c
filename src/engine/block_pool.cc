#include "engine/block_pool.h"

#include <string>

namespace tessera {

BlockPool::BlockPool(int32_t num_blocks) {
  TESSERA_CHECK(num_blocks >= 0, "a pool of " + std::to_string(num_blocks) + " blocks");
  references_.assign(static_cast<size_t>(num_blocks), 0);
  free_.reserve(static_cast<size_t>(num_blocks));
  for (int32_t block = num_blocks - 1; block >= 0; --block) free_.push_back(block);
}

size_t BlockPool::CheckedIndex(int32_t block) const {
  TESSERA_CHECK(block >= 0 && block < num_blocks(), "block " + std::to_string(block));
  return static_cast<size_t>(block);
}

int32_t BlockPool::Allocate() {
  if (free_.empty()) return kNoBlock;
  const int32_t block = free_.back();
  free_.pop_back();
  references_[CheckedIndex(block)] = 1;
  return block;
}

void BlockPool::AddReference(int32_t block) {
  int32_t& count = references_[CheckedIndex(block)];
  TESSERA_CHECK(count > 0, "block " + std::to_string(block) + " is free");
  ++count;
}

void BlockPool::Release(int32_t block) {
  int32_t& count = references_[CheckedIndex(block)];
  TESSERA_CHECK(count > 0, "block " + std::to_string(block) + " is released twice");
  if (--count == 0) free_.push_back(block);
}

Status BlockPool::CheckIntegrity() const {
  std::vector<bool> listed(references_.size(), false);
  for (const int32_t block : free_) {
    const size_t index = CheckedIndex(block);
    if (listed[index]) return Internal("Block " + std::to_string(block) + " is free twice.");
    listed[index] = true;
  }
  for (size_t i = 0; i < references_.size(); ++i) {
    if (references_[i] < 0 || (references_[i] == 0) != listed[i]) {
      return Internal("Block " + std::to_string(i) + " has " + std::to_string(references_[i]) +
                      " references and is " + (listed[i] ? "" : "not ") + "on the free list.");
    }
  }
  return {};
}

}  // namespace tessera
