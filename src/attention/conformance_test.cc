// Every backend and policy that this machine can run, emulated GPU ones included, against one
// expectation (testing/attention_case.h).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <random>

#include "attention/backends/portable/cpu_kernels.h"
#include "attention/backends/portable/emulated_backend.h"
#include "attention/backends/portable/portable_backend.h"
#include "attention/backends/x86/x86_backend.h"
#include "attention/testing/attention_case.h"
#include "attention/testing/feature_cases.h"
#include "base/testing/test_scale.h"
#include "tessera/registry.h"

namespace tessera::testing {
namespace {

struct Subject {
  std::string name;
  std::function<std::unique_ptr<Backend>(const BackendContext&)> create;
  // The caches whose probabilities are rounded to the 16 bits that matrix units multiply.
  std::vector<DType> matrix_caches = {};
};

// Families that this machine cannot run are told, not left out in silence.
std::vector<std::string> RunnableX86Families() {
  static const std::vector<std::string> families = [] {
    ThreadPool pool({.num_threads = 1});
    const BackendContext context{DetectCpu(), &pool};
    std::vector<std::string> runnable;
    for (const std::string& family : X86Families()) {
      const auto backend = CreateX86Backend(context, {.family = family});
      if (backend.ok()) {
        runnable.push_back(family);
      } else {
        std::cout << "  NOT TESTED here: x86:" << backend.error().message << "\n";
      }
    }
    return runnable;
  }();
  return families;
}

std::vector<Subject> Subjects() {
  std::vector<Subject> subjects;
  for (const BackendEntry& entry : BackendEntries()) {
    // Below, with each of its families.
    if (entry.name != "x86") subjects.push_back({entry.name, entry.create});
  }
  for (const std::string& family : RunnableX86Families()) {
    subjects.push_back({"x86:" + family,
                        [family](const BackendContext& context) {
                          return CreateX86Backend(context, {.family = family}).value();
                        },
                        family == "avx512"
                            ? std::vector<DType>{}
                            : std::vector{DType::kBFloat16, DType::kE4M3FN, DType::kE4M3FNUZ,
                                          DType::kE5M2, DType::kInt8}});
  }
  for (const std::string& policy : CpuPolicies()) {
    subjects.push_back({"portable:" + policy, [policy](const BackendContext& context) {
                          return CreatePortableBackend(context, {.cpu_policy = policy}).value();
                        }});
  }
  subjects.push_back({"portable:split", [](const BackendContext& context) {
                        return CreatePortableBackend(
                                   context, {.cpu_policy = "", .mode = PortableMode::kSplit})
                            .value();
                      }});
  for (const std::string& policy : EmulatedPolicies()) {
    for (unsigned seed : {0u, 1u}) {
      subjects.push_back({"emulated:" + policy + (seed == 0 ? "" : ":shuffled"),
                          [policy, seed](const BackendContext& context) {
                            return CreateEmulatedBackend(context, policy, seed);
                          },
                          {DType::kFloat16, DType::kBFloat16, DType::kE4M3FN, DType::kE4M3FNUZ,
                           DType::kE5M2, DType::kInt8}});
    }
  }
  return subjects;
}

struct Tolerance {
  double atol;
  double rtol;
  double lse;
};

// Float32 arithmetic, half a unit in the last place of the output, and for matrix units
// probabilities rounded to bfloat16 (or to float16, beside a cache of that): not above what vLLM
// allows (1.5e-2 / 1e-2).
Tolerance ToleranceOf(const AttentionSpec& spec, bool matrix) {
  double atol = 3e-5, rtol = 1e-5;  // float32 scores of magnitude 20 carry that much
  if (matrix) atol = spec.cache_dtype == DType::kFloat16 ? 1e-3 : 8e-3;
  // There even the largest probability, which else is 1, is rounded: its product with the scale.
  if (matrix && spec.kv_scales == ScaleMode::kPerTokenHead) atol = 1.5e-2;
  if (spec.output_dtype == DType::kFloat16) rtol += 6e-4;
  if (spec.output_dtype == DType::kBFloat16) rtol += 4e-3;
  if (spec.output_dtype == DType::kE5M2) rtol += 0.126;  // half a unit of two bits of mantissa
  if (SizeOf(spec.output_dtype) == 1)
    rtol += 0.063, atol += 2e-4;  // of three; the smallest numbers
  return {atol, rtol, 1e-4};
}

class Conformance {
 public:
  explicit Conformance(int threads = 2)
      : pool_({.num_threads = threads, .pin = false}), context_{DetectCpu(), &pool_} {}

  // Checks all subjects that support the case, which must be at least so many. Where the scale of
  // tests is small, only some of the cases are checked: the first of each test, and every n-th.
  void Check(const CaseOptions& options, int at_least) {
    if (cases_++ % stride_ != 0) return;
    AttentionCase problem(options);
    int checked = 0;
    for (const Subject& subject : Subjects()) {
      std::unique_ptr<Backend> backend = subject.create(context_);
      const Support support = backend->Supports(options.spec, options.block_size);
      if (!support.ok()) {
        for (const std::string& reason : support.reasons) EXPECT_FALSE(reason.empty());
        continue;
      }
      ++checked;
      const std::vector<DType>& matrix = subject.matrix_caches;
      const bool rounds =
          std::find(matrix.begin(), matrix.end(), options.spec.cache_dtype) != matrix.end();
      const Tolerance tolerance = ToleranceOf(options.spec, rounds);
      const auto errors =
          problem.Check(backend.get(), tolerance.atol * options.value_size, tolerance.rtol);
      EXPECT_EQ(errors.problem, "") << subject.name << ": " << ToString(options);
      EXPECT_LE(errors.output, 1.0)
          << subject.name << ": " << ToString(options) << "; absolute " << errors.worst_absolute;
      EXPECT_LE(errors.lse, tolerance.lse) << subject.name << ": " << ToString(options);
      worst_[subject.name + " -> " + ToString(options.spec.output_dtype)] =
          std::max(worst_[subject.name + " -> " + ToString(options.spec.output_dtype)],
                   errors.worst_absolute);
    }
    EXPECT_GE(checked, at_least) << ToString(options);
    checked_ += checked;
  }

  void PrintWorst() const {
    for (const auto& [name, error] : worst_) {
      std::cout << "  largest error, " << name << ": " << error << "\n";
    }
  }

  int checked() const { return checked_; }

 private:
  static const char* ToString(DType dtype) { return tessera::ToString(dtype); }
  static std::string ToString(const CaseOptions& options) { return testing::ToString(options); }

  ThreadPool pool_;
  BackendContext context_;
  std::map<std::string, double> worst_;
  const int64_t stride_ = 1000 / Scaled(1000);
  int64_t cases_ = 0;
  int checked_ = 0;
};

const std::vector<Sequence>& Mixed() {
  static const std::vector<Sequence> sequences = {{37, 130}, {1, 77}, {64, 64}, {1, 1},  {0, 40},
                                                  {5, 300},  {0, 0},  {2, 2},   {1, 513}};
  return sequences;
}

TEST(Conformance, HeadSizes) {
  Conformance conformance;
  for (int32_t size : {16, 24, 32, 40, 64, 80, 96, 112, 128, 192, 256, 512}) {
    conformance.Check({.spec = Spec(4, 2, size), .sequences = Mixed()}, size <= 256 ? 2 + 8 : 2);
  }
  // Odd sizes and values of another size than keys.
  conformance.Check({.spec = Spec(2, 1, 1), .sequences = Mixed()}, 2 + 8);
  conformance.Check({.spec = Spec(2, 1, 33), .sequences = Mixed()}, 2 + 8);
  AttentionSpec latent = Spec(8, 1, 192);
  latent.head_size_v = 128;
  conformance.Check({.spec = latent, .sequences = Mixed()}, 2 + 8);
  conformance.PrintWorst();
}

TEST(Conformance, HeadCounts) {
  Conformance conformance;
  const std::pair<int32_t, int32_t> counts[] = {{1, 1},  {3, 3}, {5, 1},  {6, 2}, {9, 3},
                                                {14, 2}, {8, 8}, {32, 2}, {71, 1}};
  for (const auto& [heads, kv_heads] : counts) {
    conformance.Check({.spec = Spec(heads, kv_heads, 64), .sequences = Mixed()}, 2 + 8);
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
      conformance.Check(options, 2 + 8);
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
        conformance.Check({.spec = spec, .sequences = Mixed()}, operands_alike ? 2 + 8 : 2);
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
        conformance.Check({.spec = spec, .sequences = Mixed()}, 2 + 8);
      }
    }
  }
}

TEST(Conformance, FeaturesAloneAndInPairs) {
  Conformance conformance;
  const std::vector<CaseOptions> cases = FeaturePairCases();
  EXPECT_GE(cases.size(), 200u);
  for (const CaseOptions& options : cases) conformance.Check(options, 2 + 8);
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
        conformance.Check(options, 2 + 8);
      }
    }
  }
  conformance.PrintWorst();
}

// Scales by token and head may be of any size; so may queries, whose products with keys are not.
// Float16, where it is in use on the way, holds none of these numbers.
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
                          2 + 8);
      }
    }
  }
}

// A row that sees one key gives its value: whatever the codes from `first` on mean comes out, NaN
// and infinity too. One row decodes, the others prefill.
void CheckCodes(DType cache_dtype, int32_t first, int32_t size) {
  ThreadPool pool({.num_threads = 1});
  const BackendContext context{DetectCpu(), &pool};
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
    const AttentionBatch batch{.num_seqs = 1,
                               .num_tokens = rows,
                               .query_start_loc = starts,
                               .seq_lens = lens,
                               .block_table = table,
                               .block_table_stride = 1,
                               .max_query_len = rows,
                               .max_seq_len = 1};
    const std::vector<uint16_t> query(static_cast<size_t>(size * kRows));
    for (const Subject& subject : Subjects()) {
      auto backend = subject.create(context);
      if (!backend->Supports(spec, 1).ok()) continue;
      std::vector<float> output(query.size());
      const auto plan = backend->Plan(spec, batch, nullptr);
      backend->Run(*plan, spec, batch, cache,
                   {.query = query.data(),
                    .query_token_stride = size,
                    .query_head_stride = size,
                    .output = output.data(),
                    .output_token_stride = size,
                    .output_head_stride = size});
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
      conformance.Check({.spec = spec, .sequences = Mixed()}, 2 + 8);
    }
  }
}

TEST(Conformance, OrdersOfTheAxes) {
  Conformance conformance;
  for (KvOrder order : {KvOrder::kBlockHeadToken, KvOrder::kBlockTokenHead,
                        KvOrder::kBlockLayerHeadToken, KvOrder::kBlockLayerTokenHead,
                        KvOrder::kBlockHeadLayerToken, KvOrder::kBlockTokenLayerHead}) {
    conformance.Check({.spec = Spec(6, 3, 64), .sequences = Mixed(), .order = order}, 2 + 8);
    AttentionSpec scaled = Spec(6, 3, 64);
    scaled.cache_dtype = DType::kInt8;
    scaled.kv_scales = ScaleMode::kPerTokenHead;
    conformance.Check({.spec = scaled, .sequences = Mixed(), .order = order}, 2 + 8);
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
      conformance.Check(options, 2 + 8);
      options.spec.window_left = 100;  // no cascade, and no harm
      conformance.Check(options, 2 + 8);
    }
  }
}

TEST(Conformance, EmptyAndSingle) {
  Conformance conformance;
  for (const std::vector<Sequence>& sequences :
       {std::vector<Sequence>{}, {{0, 0}}, {{0, 17}}, {{1, 1}}, {{0, 0}, {1, 1}, {0, 0}}}) {
    conformance.Check({.spec = Spec(2, 1, 32), .sequences = sequences, .padded_tokens = 2}, 2 + 8);
  }
}

TEST(Conformance, SkippedSlotsKeepTheCache) {
  Conformance conformance;
  conformance.Check({.spec = Spec(2, 1, 64), .sequences = Mixed(), .skip_every = 3}, 2 + 8);
}

TEST(Conformance, LongDecodeIsSplitAndMerged) {
  Conformance conformance(3);
  for (bool invariant : {false, true}) {
    AttentionSpec spec = Spec(4, 1, 64);
    spec.batch_invariant = invariant;
    spec.output_dtype = DType::kFloat32;
    conformance.Check({.spec = spec, .sequences = {{1, 5000}, {1, 3}, {3, 2100}}}, 2 + 8);
  }
}

TEST(Conformance, CachesBeyond2To31Elements) {
  Conformance conformance;
  CaseOptions options{.spec = Spec(2, 1, 64), .sequences = {{3, 40}, {1, 33}}, .block_size = 16};
  options.block_padding = int64_t{3} << 29;
  conformance.Check(options, 2 + 8);
}

TEST(Conformance, BatchInvariance) {
  ThreadPool pool({.num_threads = 3, .pin = false});
  const BackendContext context{DetectCpu(), &pool};
  AttentionSpec spec = Spec(4, 2, 64);
  spec.batch_invariant = true;
  spec.output_dtype = DType::kFloat32;
  for (const Subject& subject : Subjects()) {
    auto backend = subject.create(context);
    if (!backend->Supports(spec, 16).ok()) continue;
    for (Sequence first : {Sequence{1, 4500}, {70, 300}}) {
      AttentionCase alone({.spec = spec, .sequences = {first}});
      const std::vector<float> single = alone.Run(backend.get());
      AttentionCase beside({.spec = spec, .sequences = {first, {1, 3000}, {33, 400}, {1, 1}}});
      std::vector<float> first_of_many = beside.Run(backend.get());
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
