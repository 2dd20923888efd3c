#include "engine/prefix_cache.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>

namespace tessera {

PrefixCache::PrefixCache(BlockPool* pool, int32_t block_size)
    : pool_(pool), block_size_(block_size) {
  entries_.resize(static_cast<size_t>(pool->num_blocks()));
  pool->OnEviction([this](int32_t block) { Forget(block); });
}

PrefixKey PrefixCache::KeyOf(const PrefixPosition& position, std::span<const int32_t> tokens) {
  constexpr size_t kKeyWords = sizeof(PrefixKey) / sizeof(int32_t);
  scratch_.resize(kKeyWords + tokens.size());
  std::memcpy(scratch_.data(), &position.key, sizeof(PrefixKey));
  std::copy(tokens.begin(), tokens.end(), scratch_.begin() + kKeyWords);
  const XXH128_hash_t hash = XXH3_128bits(scratch_.data(), scratch_.size() * sizeof(int32_t));
  return {hash.low64, hash.high64};
}

std::span<const int32_t> PrefixCache::TokensOf(std::span<const int32_t> tokens,
                                               int32_t block) const {
  const size_t size = static_cast<size_t>(block_size_);
  return tokens.subspan(static_cast<size_t>(block) * size, size);
}

int32_t PrefixCache::Find(const PrefixKey& key, uint64_t parent,
                          std::span<const int32_t> tokens) const {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return BlockPool::kNoBlock;
  const Entry& entry = entries_[static_cast<size_t>(found->second)];
  const bool same =
      entry.parent == parent && std::equal(tokens.begin(), tokens.end(), entry.tokens.begin());
  return same ? found->second : BlockPool::kNoBlock;
}

void PrefixCache::Match(std::span<const int32_t> tokens, int32_t max_blocks,
                        std::vector<int32_t>* blocks, PrefixPosition* position) {
  while (position->blocks < max_blocks) {
    const auto own = TokensOf(tokens, position->blocks);
    const PrefixKey key = KeyOf(*position, own);
    const int32_t block = Find(key, position->serial, own);
    if (block == BlockPool::kNoBlock) return;
    pool_->AddReference(block);
    blocks->push_back(block);
    *position = {position->blocks + 1, key, entries_[static_cast<size_t>(block)].serial};
  }
}

void PrefixCache::Insert(std::span<const int32_t> tokens, std::span<const int32_t> blocks,
                         int32_t full_blocks, PrefixPosition* position) {
  while (position->blocks < full_blocks) {
    const auto own = TokensOf(tokens, position->blocks);
    const PrefixKey key = KeyOf(*position, own);
    int32_t block = Find(key, position->serial, own);
    if (block == BlockPool::kNoBlock) {
      // An older entry under this key collides, or lost the blocks before it: nobody finds it.
      if (const auto stale = by_key_.find(key); stale != by_key_.end()) {
        const int32_t old = stale->second;
        Forget(old);
        pool_->Discard(old);
      }
      block = blocks[static_cast<size_t>(position->blocks)];
      entries_[static_cast<size_t>(block)] = {
          key, ++last_serial_, position->serial, {own.begin(), own.end()}};
      by_key_.emplace(key, block);
      pool_->Retain(block);
    }
    *position = {position->blocks + 1, key, entries_[static_cast<size_t>(block)].serial};
  }
}

void PrefixCache::Forget(int32_t block) {
  Entry& entry = entries_[static_cast<size_t>(block)];
  if (entry.serial == 0) return;
  by_key_.erase(entry.key);
  entry = {};
}

}  // namespace tessera
