// Prefix caching: full blocks of computed tokens are found again by what they contain, so that
// requests with a common beginning compute it once.
//
// A block's key is the XXH3 hash (128 bits) of its tokens and of the key of the block before it. On
// a hit the tokens are compared, and that the blocks before it are the very ones that stood before
// it when it was made: a collision of hashes can cost a hit, never an answer.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/block_pool.h"

namespace tessera {

struct PrefixKey {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const PrefixKey&) const = default;
};

// How much of a sequence the cache knows: its first `blocks` blocks.
struct PrefixPosition {
  int32_t blocks = 0;
  PrefixKey key;        // of the last of them
  uint64_t serial = 0;  // of its entry; 0: the beginning
};

// Not thread-safe. `pool` outlives the cache, which hears of the pool's evictions.
class PrefixCache {
 public:
  PrefixCache(BlockPool* pool, int32_t block_size);
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  // The longest known beginning of `tokens`, at most `max_blocks` blocks of it, is appended to
  // `blocks` with a reference for each. `position` then stands after it.
  void Match(std::span<const int32_t> tokens, int32_t max_blocks, std::vector<int32_t>* blocks,
             PrefixPosition* position);

  // Makes the blocks of a sequence known up to `full_blocks`, all of whose tokens are computed.
  void Insert(std::span<const int32_t> tokens, std::span<const int32_t> blocks, int32_t full_blocks,
              PrefixPosition* position);

  int32_t size() const { return static_cast<int32_t>(by_key_.size()); }

 private:
  struct Entry {
    PrefixKey key;
    uint64_t serial = 0;  // 0: the block is not known
    uint64_t parent = 0;  // serial of the entry before it
    std::vector<int32_t> tokens;
  };
  struct KeyHash {
    size_t operator()(const PrefixKey& key) const { return static_cast<size_t>(key.low); }
  };

  PrefixKey KeyOf(const PrefixPosition& position, std::span<const int32_t> tokens);
  std::span<const int32_t> TokensOf(std::span<const int32_t> tokens, int32_t block) const;
  // The block with this key, if it is what it seems to be; kNoBlock otherwise.
  int32_t Find(const PrefixKey& key, uint64_t parent, std::span<const int32_t> tokens) const;
  void Forget(int32_t block);

  BlockPool* const pool_;
  const int32_t block_size_;
  std::vector<Entry> entries_;  // [num_blocks]
  std::unordered_map<PrefixKey, int32_t, KeyHash> by_key_;
  std::vector<int32_t> scratch_;
  uint64_t last_serial_ = 0;
};

}  // namespace tessera
