// Checks the portable kernel's NVIDIA instances against the test expectation on a real GPU.
#include <cstdio>
#include <random>

#include "attention/testing/attention_case.h"
#include "cuda_backend.h"

using tessera::Alibi;
using tessera::AttentionSpec;
using tessera::Causality;
using tessera::DType;
using tessera::KvOrder;
using tessera::ScaleMode;
using tessera::testing::AttentionCase;
using tessera::testing::CaseOptions;
using tessera::testing::Sequence;

namespace {

struct Tally {
  int passed = 0;
  int failed = 0;
  double worst = 0;
};

void Check(tessera::Backend* backend, const CaseOptions& options, Tally* tally) {
  if (!backend->Supports(options.spec, options.block_size).ok()) return;
  AttentionCase problem(options);
  const AttentionSpec& spec = options.spec;
  const bool narrow_output = SizeOf(spec.output_dtype) == 1;
  const double rtol = spec.output_dtype == DType::kE5M2      ? 0.19
                      : narrow_output                        ? 0.064
                      : spec.output_dtype == DType::kFloat32 ? 1e-5
                                                             : 4e-3;
  // As in the conformance test: what the rounding of probabilities, or of their products with
  // scales, makes of values of a few units.
  const double atol = spec.kv_scales == ScaleMode::kPerTokenHead ? 1.5e-2 : 8e-3;
  const auto errors = problem.Check(backend, atol, rtol);
  const bool ok = errors.problem.empty() && errors.output <= 1.0 && errors.lse <= 1e-3;
  ++(ok ? tally->passed : tally->failed);
  if (errors.worst_absolute > tally->worst) tally->worst = errors.worst_absolute;
  if (!ok) {
    std::printf("WRONG %s: error %.3g, lse %.3g %s\n", ToString(options).c_str(),
                errors.worst_absolute, errors.lse, errors.problem.c_str());
  }
}

// Half of the cases stay bfloat16; the others take every type of cache, query, scales and output.
void PickTypes(std::mt19937& random, AttentionSpec* spec) {
  if (random() % 2 == 0) return;
  constexpr DType kTypes[] = {DType::kE4M3FN,  DType::kE4M3FNUZ, DType::kE5M2,
                              DType::kFloat16, DType::kBFloat16, DType::kInt8};
  const auto pick = [&](size_t count) { return kTypes[random() % count]; };
  spec->cache_dtype = pick(6);
  spec->query_dtype = random() % 2 == 0                      ? pick(3)
                      : spec->cache_dtype == DType::kFloat16 ? DType::kFloat16
                                                             : DType::kBFloat16;
  if (SizeOf(spec->cache_dtype) == 1) {
    const bool integers = spec->cache_dtype == DType::kInt8;  // which need scales
    spec->kv_scales = static_cast<ScaleMode>(integers ? 1 + random() % 3 : random() % 4);
  }
  if (random() % 2 == 0) spec->output_dtype = pick(4);
  spec->fp8_output_scale = SizeOf(spec->output_dtype) == 1;
}

Tally CheckAll(tessera::Backend* backend, int random_cases) {
  Tally tally;
  const std::vector<Sequence> mixed = {{37, 130}, {1, 77}, {64, 64}, {1, 1},   {0, 40},
                                       {5, 300},  {0, 0},  {2, 2},   {1, 5113}};
  std::mt19937 random(1);
  const auto pick = [&](std::initializer_list<int> list) {
    return *(list.begin() + static_cast<long>(random() % list.size()));
  };
  for (int i = 0; i < random_cases; ++i) {
    CaseOptions options;
    options.seed = random();
    options.spec.num_kv_heads = pick({1, 2, 3});
    options.spec.num_heads = options.spec.num_kv_heads * pick({1, 2, 3, 4, 7, 8, 71});
    options.spec.head_size = pick({32, 64, 96, 128, 128, 256, 80, 33});
    options.spec.output_dtype = random() % 2 == 0 ? DType::kFloat32 : DType::kBFloat16;
    PickTypes(random, &options.spec);
    options.spec.causality = static_cast<Causality>(pick({0, 0, 1, 2}));
    options.spec.prefix_ranges = random() % 5 == 0;
    options.spec.window_left = pick({-1, -1, 0, 7, 100});
    options.spec.window_right = pick({-1, -1, -1, 2});
    options.spec.soft_cap = random() % 3 == 0 ? 20.0f : 0.0f;
    options.spec.chunk_size = pick({0, 0, 0, 33});
    options.spec.alibi = static_cast<Alibi>(pick({0, 0, 0, 1, 2}));
    options.spec.sinks = random() % 3 == 0;
    options.spec.batch_invariant = random() % 4 == 0;
    options.block_size = pick({1, 5, 16, 16, 48, 128, 544});
    options.order = random() % 2 == 0 ? KvOrder::kBlockHeadToken : KvOrder::kBlockTokenHead;
    options.separate_planes = random() % 4 == 0;
    options.block_padding = random() % 4 == 0 ? 13 : 0;
    options.query_padding = random() % 4 == 0 ? 5 : 0;
    options.padded_tokens = static_cast<int>(random() % 3);
    options.skip_every = pick({0, 0, 2});
    options.sequences = mixed;
    if (random() % 2 == 0) {
      options.sequences.clear();
      for (size_t s = random() % 5; s > 0; --s) {
        const int query = pick({0, 1, 1, 2, 7, 33, 130});
        options.sequences.push_back({query, query + pick({0, 0, 1, 15, 16, 17, 63, 200, 3000})});
      }
    }
    Check(backend, options, &tally);
  }
  return tally;
}

}  // namespace

int main(int argc, char** argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 200;
  tessera::ThreadPool pool;
  auto backend = tessera::CreateCudaCheckBackend({tessera::DetectCpu(), &pool});
  const Tally tally = CheckAll(backend.get(), cases);
  std::printf("%s: largest absolute error %.3g\n", backend->Name().c_str(), tally.worst);

  std::printf("%d passed, %d failed\n", tally.passed, tally.failed);
  return tally.failed == 0 ? 0 : 1;
}
