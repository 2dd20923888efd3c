// Every backend and policy that this machine can run, emulated GPU ones included, against one
// expectation (testing/attention_case.h).
#include "attention/testing/conformance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <iostream>
#include <random>

#include "attention/testing/feature_cases.h"
#include "attention/testing/test_device.h"

namespace tessera::testing {
namespace {

TEST(Conformance, HeadSizes) {
  Conformance conformance;
  for (int32_t size : {16, 24, 32, 40, 64, 80, 96, 112, 128, 192, 256, 512}) {
    conformance.Check({.spec = Spec(4, 2, size), .sequences = Mixed()},
                      size <= 256 ? 2 + kEmulated : 2);
  }
  // Odd sizes and values of another size than keys.
  conformance.Check({.spec = Spec(2, 1, 1), .sequences = Mixed()}, 2 + kEmulated);
  conformance.Check({.spec = Spec(2, 1, 33), .sequences = Mixed()}, 2 + kEmulated);
  AttentionSpec latent = Spec(8, 1, 192);
  latent.head_size_v = 128;
  conformance.Check({.spec = latent, .sequences = Mixed()}, 2 + kEmulated);
  conformance.PrintWorst();
}

TEST(Conformance, HeadCounts) {
  Conformance conformance;
  const std::pair<int32_t, int32_t> counts[] = {{1, 1},  {3, 3}, {5, 1},  {6, 2}, {9, 3},
                                                {14, 2}, {8, 8}, {32, 2}, {71, 1}};
  for (const auto& [heads, kv_heads] : counts) {
    conformance.Check({.spec = Spec(heads, kv_heads, 64), .sequences = Mixed()}, 2 + kEmulated);
  }
}

TEST(Conformance, BlockSizesAndStrides) {
  Conformance conformance;
  for (int32_t block_size : {1, 5, 16, 48, 128, 544, 784, 1056}) {
    for (KvOrder order : {KvOrder::kBlockHeadToken, KvOrder::kBlockTokenHead}) {
      CaseOptions options{
          .spec = Spec(4, 2, 64), .sequences = Mixed(), .block_size = block_size, .order = order};
      options.separate_planes = block_size % 2 == 1;
      options.block_padding = block_size == 48 ? 77 : 0;
      options.query_padding = block_size == 5 ? 3 : 0;
      options.padded_tokens = 7;
      conformance.Check(options, 2 + kEmulated);
    }
  }
}

TEST(Conformance, DTypes) {
  Conformance conformance;
  const DType types[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};
  for (DType query : types) {
    for (DType cache : types) {
      for (DType output : types) {
        AttentionSpec spec = Spec(6, 2, 80);
        spec.query_dtype = query;
        spec.cache_dtype = cache;
        spec.output_dtype = output;
        const bool operands_alike = query == cache && query != DType::kFloat32;
        conformance.Check({.spec = spec, .sequences = Mixed()}, operands_alike ? 2 + kEmulated : 2);
      }
    }
  }
}

TEST(Conformance, MasksAndSoftCap) {
  Conformance conformance;
  for (Causality causality : {Causality::kCausal, Causality::kFull}) {
    for (std::pair<int32_t, int32_t> window :
         {std::pair{-1, -1}, {0, -1}, {0, 0}, {23, -1}, {63, 5}, {-1, 3}, {1000, 1000}}) {
      for (float soft_cap : {0.0f, 2.5f, 30.0f}) {
        AttentionSpec spec = Spec(4, 2, 64);
        spec.causality = causality;
        spec.window_left = window.first;
        spec.window_right = window.second;
        spec.soft_cap = soft_cap;
        spec.output_dtype = DType::kFloat32;
        conformance.Check({.spec = spec, .sequences = Mixed()}, 2 + kEmulated);
      }
    }
  }
}

TEST(Conformance, FeaturesAloneAndInPairs) {
  Conformance conformance;
  const std::vector<CaseOptions> cases = FeaturePairCases();
  EXPECT_GE(cases.size(), 200u);
  for (const CaseOptions& options : cases) conformance.Check(options, 2 + kEmulated);
  std::cout << "  " << cases.size() << " combinations\n";
  conformance.PrintWorst();
}

TEST(Conformance, QuantisedCaches) {
  Conformance conformance;
  for (DType cache : {DType::kE4M3FN, DType::kE4M3FNUZ, DType::kE5M2, DType::kInt8}) {
    for (ScaleMode scales :
         {ScaleMode::kNone, ScaleMode::kPerTensor, ScaleMode::kPerHead, ScaleMode::kPerTokenHead}) {
      for (int32_t size : {64, 80, 33}) {
        AttentionSpec spec = Spec(6, 2, size);
        spec.cache_dtype = cache;
        spec.kv_scales = scales;
        spec.output_dtype = DType::kFloat32;
        if (!Validate(spec).ok()) continue;
        CaseOptions options{.spec = spec, .sequences = Mixed(), .block_size = 16};
        options.order = size == 80 ? KvOrder::kBlockTokenHead : KvOrder::kBlockHeadToken;
        options.skip_every = size == 33 ? 2 : 0;
        conformance.Check(options, 2 + kEmulated);
      }
    }
  }
  conformance.PrintWorst();
}

// Scales by token and head may be of any size; so may queries, whose products with keys are not.
// Float16, if it is in use on the way, holds none of these numbers.
TEST(Conformance, LargeAndSmallNumbers) {
  Conformance conformance;
  for (DType cache : {DType::kE4M3FN, DType::kE5M2, DType::kInt8}) {
    for (const float query_size : {1.0f, 0x1p40f, 0x1p-40f}) {
      for (const float value_size : {1.0f, 0x1p40f, 0x1p-40f}) {
        AttentionSpec spec = Spec(6, 2, 64);
        spec.cache_dtype = cache;
        spec.kv_scales = ScaleMode::kPerTokenHead;
        spec.output_dtype = DType::kFloat32;
        conformance.Check({.spec = spec,
                           .sequences = Mixed(),
                           .query_size = query_size,
                           .value_size = value_size},
                          2 + kEmulated);
      }
    }
  }
}

// A row that sees one key gives its value: whatever the codes from `first` on mean comes out, NaN
// and infinity too. One row decodes, the others prefill.
void CheckCodes(DType cache_dtype, int32_t first, int32_t size) {
  const std::unique_ptr<Device> device = CreateCpuDevice();
  ThreadPool pool({.num_threads = 1});
  constexpr int32_t kRows = 70;
  std::vector<uint8_t> memory(static_cast<size_t>(size));  // keys, then values
  for (int32_t i = 0; i < size; ++i) memory.push_back(static_cast<uint8_t>(first + i));
  AttentionSpec spec = Spec(1, 1, size);
  spec.output_dtype = DType::kFloat32;
  spec.cache_dtype = cache_dtype;
  spec.causality = Causality::kFull;
  const KvCache cache =
      MakeKvCache({.num_blocks = 1, .block_size = 1, .num_kv_heads = 1, .head_size = size},
                  cache_dtype, memory.data());
  for (int32_t rows : {1, kRows}) {
    spec.type = rows == 1 ? AttentionType::kDecoder : AttentionType::kCross;
    const int32_t starts[] = {0, rows}, lens[] = {1}, table[] = {0};
    const AttentionBatch batch =
        OnHost({.num_seqs = 1,
                .num_tokens = rows,
                .max_query_len = rows,
                .max_seq_len = 1,
                .block_table_stride = 1,
                .host = {.query_start_loc = starts, .seq_lens = lens, .block_table = table}});
    const std::vector<uint16_t> query(static_cast<size_t>(size * kRows));
    for (const Subject& subject : Subjects()) {
      // The lock-step emulator's kernels are code of the host, which may follow its addresses as
      // well; the interpreter of machine code refuses what is not the device's.
      Device* const runs_on = subject.DeviceOr(device.get());
      if (runs_on->info().kind == DeviceKind::kHip) continue;
      const auto backend = subject.create({runs_on, &pool}).value();
      if (!backend->Supports(spec, 1).ok()) continue;
      std::vector<float> output(query.size());
      const RunArgs args{.query = query.data(),
                         .query_token_stride = size,
                         .query_head_stride = size,
                         .output = output.data(),
                         .output_token_stride = size,
                         .output_head_stride = size};
      ASSERT_TRUE(PlanAndRun(backend.get(), spec, batch, cache, args, runs_on).ok());
      for (int32_t i = 0; i < rows * size; ++i) {
        const float want = LoadAsFloat(cache_dtype, memory.data(), size + i % size);
        const float got = output[static_cast<size_t>(i)];
        const bool same = std::isnan(want) ? std::isnan(got) : got == want;
        EXPECT_TRUE(same) << subject.name << ", " << tessera::ToString(cache_dtype) << ", code "
                          << first + i % size << ": " << got << ", not " << want;
      }
    }
  }
}

TEST(Conformance, EveryCodeOfAByteCache) {
  for (DType cache : {DType::kE4M3FN, DType::kE4M3FNUZ, DType::kE5M2, DType::kInt8}) {
    CheckCodes(cache, 0, 256);
    // Heads of other sizes may be read in another way.
    CheckCodes(cache, 0, 128);
    CheckCodes(cache, 128, 128);
  }
}

TEST(Conformance, QuantisedQueriesAndOutputs) {
  Conformance conformance;
  const DType types[] = {DType::kE4M3FN, DType::kE4M3FNUZ, DType::kE5M2};
  for (DType query : types) {
    for (DType output : types) {
      AttentionSpec spec = Spec(4, 2, 64);
      spec.query_dtype = query;
      spec.cache_dtype = query;
      spec.kv_scales = ScaleMode::kPerTensor;
      spec.output_dtype = output;
      spec.fp8_output_scale = true;
      conformance.Check({.spec = spec, .sequences = Mixed()}, 2 + kEmulated);
    }
  }
}

TEST(Conformance, OrdersOfTheAxes) {
  Conformance conformance;
  for (KvOrder order : {KvOrder::kBlockHeadToken, KvOrder::kBlockTokenHead,
                        KvOrder::kBlockLayerHeadToken, KvOrder::kBlockLayerTokenHead,
                        KvOrder::kBlockHeadLayerToken, KvOrder::kBlockTokenLayerHead}) {
    conformance.Check({.spec = Spec(6, 3, 64), .sequences = Mixed(), .order = order},
                      2 + kEmulated);
    AttentionSpec scaled = Spec(6, 3, 64);
    scaled.cache_dtype = DType::kInt8;
    scaled.kv_scales = ScaleMode::kPerTokenHead;
    conformance.Check({.spec = scaled, .sequences = Mixed(), .order = order}, 2 + kEmulated);
  }
}

// Multi-head latent attention as it is absorbed: one KV head, whose values are the beginning of its
// keys.
TEST(Conformance, LatentAttention) {
  Conformance conformance;
  AttentionSpec spec = Spec(16, 1, 576);
  spec.head_size_v = 512;
  conformance.Check({.spec = spec, .sequences = {{1, 300}, {7, 70}}, .value_in_key = true}, 2);
  conformance.Check({.spec = spec, .sequences = {{1, 300}, {7, 70}}}, 2);
}

TEST(Conformance, SharedPrefixesAreComputedOnce) {
  Conformance conformance(3);
  const std::vector<Sequence> sequences = {{1, 700}, {1, 530},  {0, 600},
                                           {5, 600}, {40, 560}, {1, 513}};
  for (bool sinks : {false, true}) {
    for (Causality causality : {Causality::kCausal, Causality::kFull}) {
      AttentionSpec spec = Spec(6, 2, 64);
      spec.sinks = sinks;
      spec.causality = causality;
      spec.output_dtype = DType::kFloat32;
      CaseOptions options{.spec = spec, .sequences = sequences, .common_prefix = 512};
      conformance.Check(options, 2 + kEmulated);
      options.spec.window_left = 100;  // no cascade, and no harm
      conformance.Check(options, 2 + kEmulated);
    }
  }
}

TEST(Conformance, EmptyAndSingle) {
  Conformance conformance;
  for (const std::vector<Sequence>& sequences :
       {std::vector<Sequence>{}, {{0, 0}}, {{0, 17}}, {{1, 1}}, {{0, 0}, {1, 1}, {0, 0}}}) {
    conformance.Check({.spec = Spec(2, 1, 32), .sequences = sequences, .padded_tokens = 2},
                      2 + kEmulated);
  }
}

TEST(Conformance, SkippedSlotsKeepTheCache) {
  Conformance conformance;
  conformance.Check({.spec = Spec(2, 1, 64), .sequences = Mixed(), .skip_every = 3}, 2 + kEmulated);
}

TEST(Conformance, LongDecodeIsSplitAndMerged) {
  Conformance conformance(3);
  for (bool invariant : {false, true}) {
    AttentionSpec spec = Spec(4, 1, 64);
    spec.batch_invariant = invariant;
    spec.output_dtype = DType::kFloat32;
    conformance.Check({.spec = spec, .sequences = {{1, 5000}, {1, 3}, {3, 2100}}}, 2 + kEmulated);
  }
}

TEST(Conformance, CachesBeyond2To31Elements) {
  Conformance conformance(2, /*fenced_only=*/true);
  CaseOptions options{.spec = Spec(2, 1, 64), .sequences = {{3, 40}, {1, 33}}, .block_size = 16};
  options.block_padding = int64_t{3} << 27;
  conformance.Check(options, 2 + kEmulated);
}

TEST(Conformance, BatchInvariance) {
  const std::unique_ptr<Device> device = CreateCpuDevice();
  ThreadPool pool({.num_threads = 3, .pin = false});
  AttentionSpec spec = Spec(4, 2, 64);
  spec.batch_invariant = true;
  spec.output_dtype = DType::kFloat32;
  for (const Subject& subject : Subjects()) {
    Device* const runs_on = subject.DeviceOr(device.get());
    const auto backend = subject.create({runs_on, &pool}).value();
    if (!backend->Supports(spec, 16).ok()) continue;
    for (Sequence first : {Sequence{1, 4500}, {70, 300}}) {
      AttentionCase alone({.spec = spec, .sequences = {first}});
      const std::vector<float> single = alone.Run(backend.get(), {runs_on});
      AttentionCase beside({.spec = spec, .sequences = {first, {1, 3000}, {33, 400}, {1, 1}}});
      std::vector<float> first_of_many = beside.Run(backend.get(), {runs_on});
      first_of_many.resize(single.size());
      EXPECT_TRUE(single == first_of_many) << subject.name;
    }
  }
}

TEST(Conformance, RandomCases) {
  Conformance conformance;
  const char* given = std::getenv("TESSERA_TEST_SEED");
  const unsigned seed =
      given != nullptr ? static_cast<unsigned>(std::atoi(given)) : std::random_device{}() % 1000000;
  constexpr int kCases = 150;
  std::cout << "  seed " << seed << " (repeat with TESSERA_TEST_SEED), " << kCases << " cases\n";
  std::mt19937 random(seed);
  const auto pick = [&]<typename T>(std::initializer_list<T> list) {
    return *(list.begin() + static_cast<int64_t>(random() % list.size()));
  };
  const auto types = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};
  for (int i = 0; i < kCases; ++i) {
    CaseOptions options;
    options.seed = random();
    const int32_t kv_heads = pick({1, 2, 3});
    options.spec = Spec(kv_heads * pick({1, 2, 3, 4, 7, 8}), kv_heads,
                        pick({16, 32, 64, 64, 80, 96, 128, 128, 160, 256}));
    options.spec.query_dtype = i % 2 == 0 ? DType::kBFloat16 : pick(types);
    options.spec.cache_dtype = i % 2 == 0 ? DType::kBFloat16 : pick(types);
    options.spec.output_dtype = i % 2 == 0 ? DType::kFloat32 : pick(types);
    options.spec.causality =
        pick({Causality::kCausal, Causality::kCausal, Causality::kFull, Causality::kPerRequest});
    options.spec.window_left = pick({-1, -1, 0, 7, 100});
    options.spec.window_right = pick({-1, -1, -1, 2});
    options.spec.soft_cap = pick({0.0f, 0.0f, 20.0f});
    options.spec.chunk_size = pick({0, 0, 0, 33});
    options.spec.alibi = pick({Alibi::kNone, Alibi::kNone, Alibi::kPlain, Alibi::kSqrt});
    options.spec.sinks = random() % 3 == 0;
    options.spec.prefix_ranges = random() % 4 == 0;
    options.spec.query_query_bias = random() % 4 == 0;
    if (random() % 4 == 0) {
      options.spec.cache_dtype =
          pick({DType::kE4M3FN, DType::kE4M3FNUZ, DType::kE5M2, DType::kInt8});
      options.spec.kv_scales =
          pick({ScaleMode::kPerTensor, ScaleMode::kPerHead, ScaleMode::kPerTokenHead});
    }
    options.spec.scale = pick({0.0f, 0.5f});
    options.spec.batch_invariant = random() % 4 == 0;
    options.block_size = pick({1, 5, 16, 16, 48, 128});
    options.order = pick({KvOrder::kBlockHeadToken, KvOrder::kBlockTokenHead,
                          KvOrder::kBlockHeadToken, KvOrder::kBlockTokenHead,
                          KvOrder::kBlockLayerHeadToken, KvOrder::kBlockTokenLayerHead});
    options.separate_planes = random() % 4 == 0;
    options.block_padding = random() % 4 == 0 ? 13 : 0;
    options.query_padding = random() % 4 == 0 ? 5 : 0;
    options.padded_tokens = static_cast<int32_t>(random() % 3);
    options.skip_every = pick({0, 0, 0, 2});
    const size_t count = 1 + random() % 5;
    for (size_t s = 0; s < count; ++s) {
      const int32_t query =
          options.spec.query_query_bias ? pick({0, 1, 2, 7, 16}) : pick({0, 1, 1, 1, 2, 7, 33, 70});
      options.sequences.push_back({query, query + pick({0, 0, 1, 15, 16, 17, 63, 64, 200, 700})});
    }
    conformance.Check(options, 1);
    if (::testing::Test::HasFailure()) break;
  }
  std::cout << "  " << conformance.checked() << " results compared\n";
  conformance.PrintWorst();
}

}  // namespace
}  // namespace tessera::testing
