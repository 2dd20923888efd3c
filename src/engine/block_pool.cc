#include "engine/block_pool.h"

#include <string>

namespace tessera {

BlockPool::BlockPool(int32_t num_blocks) {
  TESSERA_CHECK(num_blocks >= 0, "a pool of " + std::to_string(num_blocks) + " blocks");
  references_.assign(static_cast<size_t>(num_blocks), 0);
  links_.resize(static_cast<size_t>(num_blocks) + 1);
  links_.back().previous = links_.back().next = num_blocks;
  free_.reserve(static_cast<size_t>(num_blocks));
  for (int32_t block = num_blocks - 1; block >= 0; --block) free_.push_back(block);
}

size_t BlockPool::CheckedIndex(int32_t block) const {
  TESSERA_CHECK(block >= 0 && block < num_blocks(), "block " + std::to_string(block));
  return static_cast<size_t>(block);
}

// Behind all others: it became free last.
void BlockPool::Append(int32_t block) {
  Link& end = links_.back();
  Link& link = links_[static_cast<size_t>(block)];
  link.previous = end.previous;
  link.next = num_blocks();
  links_[static_cast<size_t>(end.previous)].next = block;
  end.previous = block;
  ++num_retained_free_;
}

void BlockPool::Unlink(int32_t block) {
  const Link& link = links_[static_cast<size_t>(block)];
  links_[static_cast<size_t>(link.previous)].next = link.next;
  links_[static_cast<size_t>(link.next)].previous = link.previous;
  --num_retained_free_;
}

int32_t BlockPool::Allocate() {
  int32_t block = kNoBlock;
  if (!free_.empty()) {
    block = free_.back();
    free_.pop_back();
  } else if (num_retained_free_ > 0) {
    block = links_.back().next;
    Unlink(block);
    if (on_eviction_) on_eviction_(block);
    links_[CheckedIndex(block)].retained = false;
  } else {
    return kNoBlock;
  }
  references_[CheckedIndex(block)] = 1;
  return block;
}

void BlockPool::AddReference(int32_t block) {
  int32_t& count = references_[CheckedIndex(block)];
  TESSERA_CHECK(count > 0 || retained(block), "block " + std::to_string(block) + " is free");
  if (count == 0) Unlink(block);
  ++count;
}

void BlockPool::Release(int32_t block) {
  int32_t& count = references_[CheckedIndex(block)];
  TESSERA_CHECK(count > 0, "block " + std::to_string(block) + " is released twice");
  if (--count > 0) return;
  if (retained(block)) {
    Append(block);
  } else {
    free_.push_back(block);
  }
}

void BlockPool::Retain(int32_t block) {
  TESSERA_CHECK(references(block) > 0, "block " + std::to_string(block) + " is free");
  links_[CheckedIndex(block)].retained = true;
}

void BlockPool::Discard(int32_t block) {
  Link& link = links_[CheckedIndex(block)];
  if (!link.retained) return;
  link.retained = false;
  if (references(block) > 0) return;
  Unlink(block);
  free_.push_back(block);
}

Status BlockPool::CheckIntegrity() const {
  std::vector<int> places(references_.size(), 0);
  for (const int32_t block : free_) {
    if (retained(block)) return Internal("Block " + std::to_string(block) + " is not free of use.");
    ++places[CheckedIndex(block)];
  }
  int32_t listed = 0;
  for (int32_t block = links_.back().next; block != num_blocks();
       block = links_[CheckedIndex(block)].next) {
    if (!retained(block)) return Internal("Block " + std::to_string(block) + " is not retained.");
    ++places[CheckedIndex(block)];
    if (++listed > num_blocks()) return Internal("The list of retained blocks has no end.");
  }
  if (listed != num_retained_free_) return Internal("Retained blocks are miscounted.");
  for (size_t i = 0; i < references_.size(); ++i) {
    if (references_[i] < 0 || places[i] != (references_[i] == 0 ? 1 : 0)) {
      return Internal("Block " + std::to_string(i) + " has " + std::to_string(references_[i]) +
                      " references and is free in " + std::to_string(places[i]) + " places.");
    }
  }
  return {};
}

}  // namespace tessera
