#include "engine/prefix_cache.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace tessera {
namespace {

constexpr int32_t kSize = 4;

std::vector<int32_t> Tokens(int32_t count, int32_t first = 0) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

// A sequence that was computed and has ended; its blocks.
std::vector<int32_t> Play(BlockPool* pool, PrefixCache* cache, const std::vector<int32_t>& tokens) {
  std::vector<int32_t> blocks;
  PrefixPosition position;
  const auto full = static_cast<int32_t>(tokens.size()) / kSize;
  cache->Match(tokens, full, &blocks, &position);
  while (static_cast<int32_t>(blocks.size()) < full) blocks.push_back(pool->Allocate());
  cache->Insert(tokens, blocks, full, &position);
  EXPECT_EQ(position.blocks, full);
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) pool->Release(*block);
  EXPECT_TRUE(pool->CheckIntegrity().ok());
  return blocks;
}

int32_t Matched(BlockPool* pool, PrefixCache* cache, const std::vector<int32_t>& tokens,
                int32_t max_blocks = 100) {
  std::vector<int32_t> blocks;
  PrefixPosition position;
  const auto full = static_cast<int32_t>(tokens.size()) / kSize;
  cache->Match(tokens, std::min(max_blocks, full), &blocks, &position);
  for (int32_t block : blocks) pool->Release(block);
  return position.blocks;
}

TEST(PrefixCache, FindsTheLongestBeginning) {
  BlockPool pool(16);
  PrefixCache cache(&pool, kSize);
  EXPECT_EQ(Matched(&pool, &cache, Tokens(12)), 0);
  const std::vector<int32_t> first = Play(&pool, &cache, Tokens(12));
  EXPECT_EQ(Matched(&pool, &cache, Tokens(12)), 3);
  EXPECT_EQ(Matched(&pool, &cache, Tokens(11)), 2);
  EXPECT_EQ(Matched(&pool, &cache, Tokens(12), 1), 1);
  std::vector<int32_t> other = Tokens(12);
  other[7] = 99;
  EXPECT_EQ(Matched(&pool, &cache, other), 1);
  // The same tokens after other ones are something else.
  EXPECT_EQ(Matched(&pool, &cache, Tokens(8, 4)), 0);
  const std::vector<int32_t> again = Play(&pool, &cache, other);
  EXPECT_EQ(again[0], first[0]);
  EXPECT_NE(again[1], first[1]);
  EXPECT_EQ(cache.size(), 5);
}

TEST(PrefixCache, TwoThatComputedTheSameKeepOne) {
  BlockPool pool(8);
  PrefixCache cache(&pool, kSize);
  const std::vector<int32_t> tokens = Tokens(8);
  std::vector<int32_t> a{pool.Allocate(), pool.Allocate()}, b{pool.Allocate(), pool.Allocate()};
  PrefixPosition at_a, at_b;
  cache.Insert(tokens, a, 2, &at_a);
  cache.Insert(tokens, b, 2, &at_b);
  EXPECT_EQ(cache.size(), 2);
  EXPECT_EQ(at_a.serial, at_b.serial);
  EXPECT_TRUE(pool.retained(a[1]));
  EXPECT_FALSE(pool.retained(b[1]));
}

TEST(PrefixCache, HotBeginningsOutliveColdEnds) {
  BlockPool pool(8);
  PrefixCache cache(&pool, kSize);
  const std::vector<int32_t> hot = Tokens(8);
  Play(&pool, &cache, hot);
  for (int32_t i = 1; i < 50; ++i) {
    std::vector<int32_t> request = hot;
    for (int32_t t : Tokens(12, 1000 * i)) request.push_back(t);
    Play(&pool, &cache, request);
    ASSERT_EQ(Matched(&pool, &cache, hot), 2) << i;
  }
  EXPECT_LE(cache.size(), 8);
}

TEST(PrefixCache, WhatLostItsBeginningIsReplaced) {
  BlockPool pool(3);
  PrefixCache cache(&pool, kSize);
  Play(&pool, &cache, Tokens(12));
  // Held, the last block stays while those before it are evicted.
  std::vector<int32_t> held;
  PrefixPosition position;
  cache.Match(Tokens(12), 3, &held, &position);
  pool.Release(held[0]);
  pool.Release(held[1]);
  const int32_t x = pool.Allocate(), y = pool.Allocate();
  EXPECT_EQ(Matched(&pool, &cache, Tokens(12)), 0);
  pool.Release(x);
  pool.Release(y);
  pool.Release(held[2]);
  EXPECT_TRUE(pool.CheckIntegrity().ok());
  Play(&pool, &cache, Tokens(12));
  EXPECT_EQ(Matched(&pool, &cache, Tokens(12)), 3);
  EXPECT_EQ(cache.size(), 3);
}

}  // namespace
}  // namespace tessera
