#include "engine/block_pool.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace tessera {
namespace {

TEST(BlockPool, OfNoBlocksHasNothingToGive) {
  BlockPool pool(0);
  EXPECT_EQ(pool.Allocate(), BlockPool::kNoBlock);
  EXPECT_TRUE(pool.CheckIntegrity().ok());
}

TEST(BlockPool, GivesEveryBlockOnce) {
  BlockPool pool(7);
  std::set<int32_t> seen;
  for (int i = 0; i < 7; ++i) seen.insert(pool.Allocate());
  EXPECT_EQ(seen, (std::set<int32_t>{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(pool.Allocate(), BlockPool::kNoBlock);
  EXPECT_EQ(pool.num_free(), 0);
  EXPECT_EQ(pool.num_used(), 7);
  EXPECT_TRUE(pool.CheckIntegrity().ok());
  for (const int32_t block : seen) pool.Release(block);
  EXPECT_EQ(pool.num_free(), 7);
  EXPECT_TRUE(pool.CheckIntegrity().ok());
}

TEST(BlockPool, LastReleasedIsFirstGiven) {
  BlockPool pool(3);
  const int32_t a = pool.Allocate();
  const int32_t b = pool.Allocate();
  pool.Release(b);
  pool.Release(a);
  EXPECT_EQ(pool.Allocate(), a);
  EXPECT_EQ(pool.Allocate(), b);
}

TEST(BlockPool, ABlockIsFreeOnlyWithoutReferences) {
  BlockPool pool(1);
  const int32_t block = pool.Allocate();
  pool.AddReference(block);
  EXPECT_EQ(pool.references(block), 2);
  pool.Release(block);
  EXPECT_EQ(pool.Allocate(), BlockPool::kNoBlock);
  EXPECT_TRUE(pool.CheckIntegrity().ok());
  pool.Release(block);
  EXPECT_EQ(pool.Allocate(), block);
}

TEST(BlockPool, RetainedBlocksAreGivenOutLastAndOldestFirst) {
  BlockPool pool(4);
  std::vector<int32_t> evicted;
  pool.OnEviction([&](int32_t block) { evicted.push_back(block); });
  const int32_t a = pool.Allocate(), b = pool.Allocate(), c = pool.Allocate();
  pool.Retain(a);
  pool.Retain(b);
  pool.Release(b);
  pool.Release(a);
  pool.Release(c);
  EXPECT_EQ(pool.num_free(), 4);
  EXPECT_TRUE(pool.CheckIntegrity().ok());
  pool.AddReference(b);  // as it is
  EXPECT_EQ(pool.num_free(), 3);
  EXPECT_EQ(pool.Allocate(), c);
  pool.Allocate();
  EXPECT_TRUE(evicted.empty());
  pool.Release(b);
  EXPECT_TRUE(pool.CheckIntegrity().ok());
  EXPECT_EQ(pool.Allocate(), a);  // free for longer than b
  EXPECT_EQ(evicted, std::vector<int32_t>{a});
  EXPECT_FALSE(pool.retained(a));
  pool.Discard(b);
  EXPECT_EQ(pool.Allocate(), b);
  EXPECT_EQ(evicted, std::vector<int32_t>{a});
  EXPECT_EQ(pool.Allocate(), BlockPool::kNoBlock);
  EXPECT_TRUE(pool.CheckIntegrity().ok());
}

TEST(BlockPoolDeathTest, BrokenPromisesStopTheProgram) {
  BlockPool pool(2);
  const int32_t block = pool.Allocate();
  pool.Release(block);
  EXPECT_DEATH(pool.Release(block), "released twice");
  EXPECT_DEATH(pool.AddReference(block), "is free");
  EXPECT_DEATH(pool.Release(2), "block 2");
  EXPECT_DEATH(pool.Release(-1), "block -1");
}

}  // namespace
}  // namespace tessera
