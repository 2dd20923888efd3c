// Packed caches, gathering, and keys dealt out to ranks.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "attention/cache_ops.h"
#include "attention/testing/test_device.h"
#include "tessera/context_parallel.h"
#include "tessera/packed_cache.h"

namespace tessera {
namespace {

std::vector<float> RandomFloats(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& x : values) x = normal(random);
  return values;
}

AttentionSpec Spec(DType cache) {
  AttentionSpec spec{.num_heads = 6, .num_kv_heads = 3, .head_size = 64, .head_size_v = 32};
  spec.cache_dtype = cache;
  spec.query_dtype = DType::kFloat32;
  spec.output_dtype = DType::kFloat32;
  return spec;
}

KvCacheShape Shape(const AttentionSpec& spec, int64_t blocks, int32_t block_size) {
  return {.num_blocks = blocks,
          .block_size = block_size,
          .num_kv_heads = spec.num_kv_heads,
          .head_size = spec.head_size,
          .head_size_v = spec.value_size()};
}

constexpr KvPacking kPackings[] = {KvPacking::kXSplit, KvPacking::kShuffle};

TEST(PackedCache, ElementsFillTheMemoryOnce) {
  for (KvPacking packing : kPackings) {
    for (DType dtype : {DType::kBFloat16, DType::kE4M3FN, DType::kFloat32}) {
      const AttentionSpec spec = Spec(dtype);
      const KvCacheShape shape = Shape(spec, 3, 32);
      if (!ValidatePacking(packing, shape, dtype).ok()) continue;
      const KvCache cache = MakePackedKvCache(packing, shape, dtype, nullptr);
      std::vector<int> hits(static_cast<size_t>(KvCacheElements(shape)), 0);
      for (int64_t block = 0; block < 3; ++block) {
        for (int64_t head = 0; head < 3; ++head) {
          for (int64_t token = 0; token < 32; ++token) {
            for (int64_t i = 0; i < spec.head_size; ++i) {
              ++hits.at(static_cast<size_t>(KeyElement(spec, cache, block, head, token, i)));
            }
            for (int64_t i = 0; i < spec.value_size(); ++i) {
              ++hits.at(static_cast<size_t>(ValueElement(spec, cache, block, head, token, i)));
            }
          }
        }
      }
      for (int hit : hits) ASSERT_EQ(hit, 1) << ToString(packing);
    }
  }
}

// The published shapes, element by element.
TEST(PackedCache, PlacesOfKnownElements) {
  AttentionSpec spec = Spec(DType::kBFloat16);
  const KvCacheShape shape = Shape(spec, 2, 16);
  const auto at = [&](KvPacking packing) {
    return MakePackedKvCache(packing, shape, DType::kBFloat16, nullptr);
  };
  const int64_t keys = 2 * 3 * 16 * 64;
  // K [block 1, head 2, size/x 5, token 7, x 3] with x = 8: component 43.
  EXPECT_EQ(KeyElement(spec, at(KvPacking::kXSplit), 1, 2, 7, 43),
            (((1 * 3 + 2) * 8 + 5) * 16 + 7) * 8 + 3);
  EXPECT_EQ(ValueElement(spec, at(KvPacking::kXSplit), 1, 2, 7, 21),
            keys + ((1 * 3 + 2) * 32 + 21) * 16 + 7);
  // V [block, head, token/x 1, size 21, x 3]: token 11.
  EXPECT_EQ(ValueElement(spec, at(KvPacking::kShuffle), 1, 2, 11, 21),
            keys + (((1 * 3 + 2) * 2 + 1) * 32 + 21) * 8 + 3);
}

TEST(PackedCache, WhatDoesNotFitIsRefused) {
  AttentionSpec spec = Spec(DType::kBFloat16);
  KvCacheShape shape = Shape(spec, 1, 5);
  EXPECT_TRUE(ValidatePacking(KvPacking::kXSplit, shape, DType::kBFloat16).ok());
  EXPECT_FALSE(ValidatePacking(KvPacking::kShuffle, shape, DType::kBFloat16).ok());
  shape.block_size = 32;
  EXPECT_TRUE(ValidatePacking(KvPacking::kShuffle, shape, DType::kBFloat16).ok());
  shape.head_size = 36;
  EXPECT_FALSE(ValidatePacking(KvPacking::kXSplit, shape, DType::kBFloat16).ok());
  shape.token_scales = true;
  EXPECT_FALSE(ValidatePacking(KvPacking::kXSplit, shape, DType::kInt8).ok());
}

TEST(PackedCache, ConversionBothWaysAndWritingAgree) {
  ThreadPool pool({.num_threads = 2, .pin = false});
  for (KvPacking packing : kPackings) {
    for (DType dtype : {DType::kBFloat16, DType::kFloat16, DType::kE4M3FN}) {
      const AttentionSpec spec = Spec(dtype);
      const KvCacheShape shape = Shape(spec, 4, 32);
      if (!ValidatePacking(packing, shape, dtype).ok()) continue;
      const size_t bytes = static_cast<size_t>(KvCacheElements(shape)) * SizeOf(dtype);
      std::vector<char> a(bytes), b(bytes), c(bytes), d(bytes);
      const KvCache standard = MakeKvCache(shape, dtype, a.data());
      const KvCache packed = MakePackedKvCache(packing, shape, dtype, b.data());
      const KvCache back = MakeKvCache(shape, dtype, c.data());
      const KvCache written = MakePackedKvCache(packing, shape, dtype, d.data());

      constexpr int32_t kTokens = 70;
      const std::vector<float> key = RandomFloats(kTokens * 3 * 64, 1);
      const std::vector<float> value = RandomFloats(kTokens * 3 * 32, 2);
      const int32_t starts[] = {0, kTokens}, lens[] = {kTokens};
      std::vector<int64_t> slots(kTokens);
      std::iota(slots.begin(), slots.end(), 41);
      slots[3] = -1;
      const AttentionBatch batch{
          .num_seqs = 1,
          .num_tokens = kTokens,
          .device = {.query_start_loc = starts, .seq_lens = lens, .slot_mapping = slots.data()}};
      const WriteKvArgs args{.key = key.data(),
                             .value = value.data(),
                             .dtype = DType::kFloat32,
                             .key_token_stride = 3 * 64,
                             .key_head_stride = 64,
                             .value_token_stride = 3 * 32,
                             .value_head_stride = 32};
      HostWriteKv(spec, batch, args, standard, &pool);
      HostWriteKv(spec, batch, args, written, &pool);
      const std::vector<BlockPair> all = {{0, 0}, {1, 1}, {2, 2}, {3, 3}};
      ConvertBlocks(spec, standard, packed, all);
      EXPECT_EQ(b, d) << ToString(packing);
      ConvertBlocks(spec, packed, back, all);
      EXPECT_EQ(a, c) << ToString(packing);
    }
  }
}

TEST(GatherCache, GivesWhatWasWritten) {
  ThreadPool pool({.num_threads = 1});
  for (ScaleMode scales :
       {ScaleMode::kNone, ScaleMode::kPerTensor, ScaleMode::kPerHead, ScaleMode::kPerTokenHead}) {
    AttentionSpec spec = Spec(scales == ScaleMode::kNone ? DType::kFloat32 : DType::kInt8);
    spec.kv_scales = scales;
    KvCacheShape shape = Shape(spec, 4, 5);
    shape.token_scales = scales == ScaleMode::kPerTokenHead;
    std::vector<char> memory(static_cast<size_t>(KvCacheElements(shape)) *
                             SizeOf(spec.cache_dtype));
    KvCache cache = MakeKvCache(shape, spec.cache_dtype, memory.data());
    const float scale[] = {0.05f, 0.06f, 0.07f};
    cache.k_scale = scale;
    cache.v_scale = scale;
    const std::vector<float> key = RandomFloats(12 * 3 * 64, 1);
    const std::vector<float> value = RandomFloats(12 * 3 * 32, 2);
    const int32_t starts[] = {0, 12}, lens[] = {12}, blocks[] = {2, 0, 3};
    std::vector<int64_t> slots;
    for (int64_t t = 0; t < 12; ++t) slots.push_back(blocks[t / 5] * 5 + t % 5);
    const AttentionBatch batch{
        .num_seqs = 1,
        .num_tokens = 12,
        .device = {.query_start_loc = starts, .seq_lens = lens, .slot_mapping = slots.data()}};
    HostWriteKv(spec, batch,
                {.key = key.data(),
                 .value = value.data(),
                 .dtype = DType::kFloat32,
                 .key_token_stride = 3 * 64,
                 .key_head_stride = 64,
                 .value_token_stride = 3 * 32,
                 .value_head_stride = 32},
                cache, &pool);
    std::vector<float> k(9 * 3 * 64), v(9 * 3 * 32);
    GatherCache(spec, cache,
                {.blocks = blocks, .first = 2, .count = 9, .key = k.data(), .value = v.data()});
    const float tolerance = scales == ScaleMode::kNone ? 0.0f : 0.036f;
    for (size_t i = 0; i < k.size(); ++i) EXPECT_NEAR(k[i], key[i + 2 * 3 * 64], tolerance);
    for (size_t i = 0; i < v.size(); ++i) EXPECT_NEAR(v[i], value[i + 2 * 3 * 32], tolerance);
  }
}

TEST(ContextParallel, EveryTokenHasOneOwnerAndOnePlace) {
  for (int32_t ranks : {1, 2, 3, 8}) {
    for (int32_t interleave : {1, 4, 16}) {
      for (int32_t tokens : {0, 1, 5, 64, 257}) {
        int32_t total = 0;
        for (int32_t rank = 0; rank < ranks; ++rank) {
          const ContextShard shard{rank, ranks, interleave};
          int32_t owned = 0;
          for (int32_t t = 0; t < tokens; ++t) {
            if (!shard.Owns(t)) continue;
            EXPECT_EQ(shard.LocalLength(t), owned);
            ++owned;
          }
          EXPECT_EQ(shard.LocalLength(tokens), owned);
          total += owned;
        }
        EXPECT_EQ(total, tokens);
      }
    }
  }
}

// One cache against the same keys dealt out to ranks, each on a thread and with a pool of its own.
TEST(ContextParallel, RanksTogetherComputeWhatOneDoes) {
  constexpr int32_t kHeads = 6, kKvHeads = 2, kSize = 32, kBlock = 8;
  AttentionSpec spec{.num_heads = kHeads, .num_kv_heads = kKvHeads, .head_size = kSize};
  spec.query_dtype = spec.cache_dtype = spec.output_dtype = DType::kFloat32;
  spec.sinks = true;
  ASSERT_TRUE(ValidateContextParallel(spec).ok());
  const std::vector<int32_t> starts = {0, 1, 6, 7}, lens = {100, 61, 1};
  const int32_t tokens = starts.back();
  const std::vector<float> query = RandomFloats(static_cast<size_t>(tokens * kHeads * kSize), 3);
  const std::vector<float> sinks = RandomFloats(kHeads, 4);

  const auto run = [&](const ContextShard& shard, const std::string& name,
                       std::vector<float>* output, std::vector<float>* lse) {
    const std::unique_ptr<Device> device = CreateCpuDevice();
    ThreadPool pool({.num_threads = 1, .pin = false});
    const auto backend = testing::CreateByName(name, {device.get(), &pool});
    const AttentionSpec local = shard.ranks == 1 ? spec : LocalSpec(spec, shard);
    constexpr int32_t kPages = 16;
    const KvCacheShape shape{.num_blocks = 3 * kPages,
                             .block_size = kBlock,
                             .num_kv_heads = kKvHeads,
                             .head_size = kSize};
    std::vector<float> memory(static_cast<size_t>(KvCacheElements(shape)),
                              std::numeric_limits<float>::quiet_NaN());
    const KvCache cache = MakeKvCache(shape, DType::kFloat32, memory.data());
    std::vector<int32_t> table(3 * kPages);
    std::iota(table.rbegin(), table.rend(), 0);
    for (int32_t seq = 0; seq < 3; ++seq) {
      const std::vector<float> kv =
          RandomFloats(static_cast<size_t>(lens[static_cast<size_t>(seq)] * kKvHeads * 2 * kSize),
                       static_cast<unsigned>(10 + seq));
      for (int32_t t = 0; t < lens[static_cast<size_t>(seq)]; ++t) {
        if (!shard.Owns(t)) continue;
        const int32_t place = shard.LocalLength(t);
        for (int32_t head = 0; head < kKvHeads; ++head) {
          std::copy_n(kv.begin() + (t * kKvHeads + head) * 2 * kSize, 2 * kSize,
                      memory.begin() +
                          cache.KOffset(table[static_cast<size_t>(seq * kPages + place / kBlock)],
                                        head, place % kBlock));
        }
      }
    }
    const AttentionBatch whole = testing::OnHost({.num_seqs = 3,
                                                  .num_tokens = tokens,
                                                  .max_query_len = 5,
                                                  .max_seq_len = 100,
                                                  .block_table_stride = kPages,
                                                  .host = {.query_start_loc = starts.data(),
                                                           .seq_lens = lens.data(),
                                                           .block_table = table.data()}});
    const LocalBatch part(whole, shard, table.data(), kPages, kBlock);
    const AttentionBatch& batch = shard.ranks == 1 ? whole : part.batch();
    ASSERT_TRUE(Validate(local, batch, cache).ok());
    ASSERT_TRUE(backend->Supports(local, kBlock).ok());
    output->resize(query.size());
    lse->resize(static_cast<size_t>(tokens * kHeads));
    const RunArgs args{.query = query.data(),
                       .query_token_stride = kHeads * kSize,
                       .query_head_stride = kSize,
                       .output = output->data(),
                       .output_token_stride = kHeads * kSize,
                       .output_head_stride = kSize,
                       .lse = lse->data(),
                       .sinks = sinks.data()};
    ASSERT_TRUE(testing::PlanAndRun(backend.get(), local, batch, cache, args, device.get()).ok());
  };

  const std::unique_ptr<Device> cpu = CreateCpuDevice();
  ThreadPool one({.num_threads = 1, .pin = false});
  for (const auto& backend : testing::UsableBackends({cpu.get(), &one})) {
    const std::string name = backend->Name();
    if (!backend->Supports(spec, kBlock).ok() ||
        !backend->Supports(LocalSpec(spec, {0, 2, 1}), kBlock).ok()) {
      continue;
    }
    std::vector<float> want, want_lse;
    run({0, 1, 1}, name, &want, &want_lse);
    for (int32_t ranks : {2, 3, 5}) {
      for (int32_t interleave : {1, 16}) {
        std::vector<std::vector<float>> outputs(static_cast<size_t>(ranks)),
            lses(static_cast<size_t>(ranks));
        std::vector<std::thread> threads;
        for (int32_t rank = 0; rank < ranks; ++rank) {
          threads.emplace_back([&, rank] {
            run({rank, ranks, interleave}, name, &outputs[static_cast<size_t>(rank)],
                &lses[static_cast<size_t>(rank)]);
          });
        }
        for (std::thread& thread : threads) thread.join();
        std::vector<RankResult> results;
        for (size_t rank = 0; rank < outputs.size(); ++rank) {
          results.push_back({outputs[rank].data(), lses[rank].data()});
        }
        std::vector<float> got(want.size()), got_lse(want_lse.size());
        MergeRanks(results, tokens * kHeads, kSize, got.data(), got_lse.data());
        for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 2e-6) << name;
        for (size_t i = 0; i < want_lse.size(); ++i) ASSERT_NEAR(got_lse[i], want_lse[i], 2e-6);
      }
    }
  }
}

TEST(ContextParallel, WhatCannotBeDealtOutIsRefused) {
  AttentionSpec spec = Spec(DType::kFloat32);
  EXPECT_TRUE(ValidateContextParallel(spec).ok());
  spec.window_left = 3;
  EXPECT_FALSE(ValidateContextParallel(spec).ok());
}

}  // namespace
}  // namespace tessera
