#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "attention/kernel/key_range.h"
#include "tessera/tessera.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;

TEST(AttentionSpec, ValidateFindsWhatMakesNoSense) {
  const AttentionSpec good{.num_heads = 8, .num_kv_heads = 2, .head_size = 64};
  EXPECT_TRUE(Validate(good).ok());
  EXPECT_FLOAT_EQ(good.softmax_scale(), 0.125f);
  EXPECT_EQ(good.value_size(), 64);
  for (auto spoil : std::vector<void (*)(AttentionSpec&)>{
           [](AttentionSpec& s) { s.num_heads = 0; }, [](AttentionSpec& s) { s.num_kv_heads = 3; },
           [](AttentionSpec& s) { s.num_kv_heads = -2; }, [](AttentionSpec& s) { s.head_size = 0; },
           [](AttentionSpec& s) { s.scale = std::numeric_limits<float>::infinity(); },
           [](AttentionSpec& s) { s.soft_cap = -1; },
           [](AttentionSpec& s) { s.window_left = -2; }}) {
    AttentionSpec bad = good;
    spoil(bad);
    EXPECT_FALSE(Validate(bad).ok());
  }
}

// 3 new tokens after 5 cached ones.
kernel::KeyRange Keys(int32_t token, int32_t causal, int32_t left, int32_t right) {
  return kernel::VisibleKeys({.causal = causal, .window_left = left, .window_right = right}, 0,
                             token, 5, 8);
}

TEST(VisibleKeys, CausalIsBottomRightAlignedAndWindowsKeepTheirNumber) {
  EXPECT_EQ(Keys(0, 1, -1, -1).end, 6);
  EXPECT_EQ(Keys(2, 1, -1, -1).end, 8);
  EXPECT_EQ(Keys(0, 0, -1, -1).end, 8);
  // A window of 4 keeps the row's own key and 3 before it.
  EXPECT_EQ(Keys(2, 1, 3, -1).begin, 4);
  EXPECT_EQ(Keys(0, 0, 0, 0).begin, 5);
  EXPECT_EQ(Keys(0, 0, 0, 0).end, 6);
  const int32_t huge = std::numeric_limits<int32_t>::max();
  EXPECT_EQ(Keys(0, 0, huge, huge).begin, 0);
  EXPECT_EQ(Keys(0, 0, huge, huge).end, 8);
}

TEST(VisibleKeys, ChunksAndRequestsAndSpans) {
  using kernel::VisibleKeys;
  kernel::MaskRule chunked{.chunk_size = 4};
  EXPECT_EQ(VisibleKeys(chunked, 0, 0, 5, 8).begin, 4);  // position 5
  EXPECT_EQ(VisibleKeys(chunked, 0, 3, 5, 9).begin, 8);
  chunked.causal = 0;
  EXPECT_EQ(VisibleKeys(chunked, 0, 0, 5, 100).end, 8);
  chunked.chunk_size = std::numeric_limits<int32_t>::max();
  EXPECT_EQ(VisibleKeys(chunked, 0, 0, 5, 100).end, 100);

  const uint8_t causal[] = {1, 0};
  const kernel::MaskRule by_request{.causal_by_seq = causal};
  EXPECT_EQ(VisibleKeys(by_request, 0, 0, 5, 8).end, 6);
  EXPECT_EQ(VisibleKeys(by_request, 1, 0, 5, 8).end, 8);

  // Spans 2..5 and 4..90, of which the second reaches past the sequence; one unused.
  const int32_t spans[] = {2, 6, 4, 91, 0, 0};
  const kernel::MaskRule prefix{.window_left = 0, .prefix_ranges = spans, .max_prefix_ranges = 3};
  EXPECT_EQ(VisibleKeys(prefix, 0, 1, 0, 8).begin, 1);
  EXPECT_EQ(VisibleKeys(prefix, 0, 1, 0, 8).end, 2);
  EXPECT_EQ(VisibleKeys(prefix, 0, 3, 0, 8).begin, 2);
  EXPECT_EQ(VisibleKeys(prefix, 0, 3, 0, 8).end, 6);
  EXPECT_EQ(VisibleKeys(prefix, 0, 5, 0, 8).begin, 2);
  EXPECT_EQ(VisibleKeys(prefix, 0, 5, 0, 8).end, 8);
  EXPECT_EQ(VisibleKeys(prefix, 0, 7, 0, 8).begin, 4);
}

TEST(AttentionBatch, ValidateChecksEveryIndex) {
  std::vector<int32_t> query_start_loc = {0, 2, 3}, seq_lens = {5, 17}, block_table = {0, 9, 1, 2};
  std::vector<int64_t> slots = {3, 4, 47};
  AttentionBatch batch{.num_seqs = 2,
                       .num_tokens = 3,
                       .max_query_len = 2,
                       .max_seq_len = 17,
                       .block_table_stride = 2,
                       .host = {.query_start_loc = query_start_loc.data(),
                                .seq_lens = seq_lens.data(),
                                .block_table = block_table.data(),
                                .slot_mapping = slots.data()}};
  EXPECT_TRUE(Validate(batch, 3, 16).ok());  // entry 9 lies past the first request's end
  block_table[3] = 3;
  EXPECT_THAT(Validate(batch, 3, 16).error().message, HasSubstr("block_table[1][1] = 3"));
  block_table[3] = 2;
  slots[2] = 48;
  EXPECT_THAT(Validate(batch, 3, 16).error().message, HasSubstr("slot_mapping[2] = 48"));
  slots[2] = -1;
  seq_lens[0] = 1;
  EXPECT_THAT(Validate(batch, 3, 16).error().message, HasSubstr("seq_lens[0] = 1"));
  seq_lens[0] = 5;
  query_start_loc[2] = 4;
  EXPECT_THAT(Validate(batch, 3, 16).error().message, HasSubstr("query_start_loc[2] = 4"));
  query_start_loc[2] = std::numeric_limits<int32_t>::min();
  EXPECT_THAT(Validate(batch, 3, 16).error().message,
              HasSubstr("query_start_loc[2] = -2147483648"));
  query_start_loc[2] = 3;
  EXPECT_TRUE(Validate(batch, 3, 16).ok());
  EXPECT_THAT(Validate(batch, 3, 0).error().message, HasSubstr("blocks of 0 tokens"));
  // What the host does not know is not checked.
  block_table[3] = 3;
  batch.host.block_table = nullptr;
  slots[2] = 48;
  batch.host.slot_mapping = nullptr;
  EXPECT_TRUE(Validate(batch, 3, 16).ok());
  // The last row of block_table is no longer than the others.
  batch.block_table_stride = 1;
  EXPECT_THAT(Validate(batch, 3, 16).error().message, HasSubstr("seq_lens[1] needs 2 blocks"));
}

TEST(KvCache, OrdersAndSizes) {
  KvCacheShape shape{
      .num_blocks = 3, .block_size = 4, .num_kv_heads = 2, .head_size = 8, .head_size_v = 6};
  EXPECT_EQ(KvCacheElements(shape), 3 * 4 * 2 * 14);
  KvCache cache = MakeKvCache(shape, DType::kBFloat16, nullptr);
  EXPECT_EQ(cache.KOffset(1, 1, 2), 1 * 112 + 1 * 56 + 2 * 14);
  EXPECT_EQ(cache.v_offset, 8);
  shape.order = KvOrder::kBlockTokenHead;
  cache = MakeKvCache(shape, DType::kBFloat16, nullptr);
  EXPECT_EQ(cache.KOffset(1, 1, 2), 1 * 112 + 1 * 14 + 2 * 28);
}

}  // namespace
}  // namespace tessera
