// Checks the portable backend on a GPU: random cases against the test expectation, and replays of a
// captured step.
//
//   check_gpu [DEVICE [CASES]]      "cuda" and 200, if they are not given
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>

#include "attention/testing/attention_case.h"
#include "attention/testing/batch_invariance.h"
#include "attention/testing/graph_replay.h"

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

void Check(tessera::Backend* backend, tessera::Device* device, const CaseOptions& options,
           Tally* tally) {
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
  const auto errors = problem.Check(backend, {device}, atol, rtol);
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

Tally CheckAll(tessera::Backend* backend, tessera::Device* device, int random_cases) {
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
    Check(backend, device, options, &tally);
  }
  return tally;
}

// Replays with the kernels of few rows and of many, of every type of cache.
Tally CheckReplays(tessera::Backend* backend, tessera::Device* device) {
  Tally tally;
  for (const DType cache : {DType::kBFloat16, DType::kE4M3FN, DType::kE5M2}) {
    for (const int32_t group : {1, 4, 71}) {
      for (const bool invariant : {false, true}) {
        AttentionSpec spec;
        spec.num_kv_heads = 2;
        spec.num_heads = 2 * group;
        spec.head_size = 128;
        spec.cache_dtype = cache;
        spec.batch_invariant = invariant;
        for (const bool shared_prefix : {false, true}) {
          const std::string problem =
              tessera::testing::CheckGraphReplays(backend, device, spec, shared_prefix);
          ++(problem.empty() ? tally.passed : tally.failed);
          if (!problem.empty()) {
            std::printf("WRONG replay of %s: %s\n", ToString(spec).c_str(), problem.c_str());
          }
        }
      }
    }
  }
  return tally;
}

Tally CheckInvariance(tessera::Backend* backend, tessera::Device* device) {
  Tally tally;
  for (const int32_t head_size : {64, 128, 256}) {
    for (const AttentionSpec& spec : tessera::testing::InvariantSpecs(head_size)) {
      const std::string problem = tessera::testing::CheckBatchInvariance(backend, device, spec);
      ++(problem.empty() ? tally.passed : tally.failed);
      if (!problem.empty()) {
        std::printf("NOT INVARIANT %s: %s\n", ToString(spec).c_str(), problem.c_str());
      }
    }
  }
  return tally;
}

}  // namespace

int main(int argc, char** argv) {
  const auto device = tessera::OpenDevice(argc > 1 ? argv[1] : "cuda");
  if (!device.ok()) {
    std::fprintf(stderr, "%s\n", device.error().message.c_str());
    return 1;
  }
  std::printf("%s, %s\n", (*device)->info().name.c_str(), (*device)->info().arch.c_str());
  tessera::ThreadPool pool;
  const auto backend = tessera::testing::CreateByName("portable", {device->get(), &pool});
  const Tally replays = CheckReplays(backend.get(), device->get());
  std::printf("replays of a captured step: %d passed, %d failed\n", replays.passed, replays.failed);
  const Tally invariant = CheckInvariance(backend.get(), device->get());
  std::printf("batch-invariant layers: %d passed, %d failed\n", invariant.passed, invariant.failed);
  const Tally cases = CheckAll(backend.get(), device->get(), argc > 2 ? std::atoi(argv[2]) : 200);
  std::printf("random cases: %d passed, %d failed; largest absolute error %.3g\n", cases.passed,
              cases.failed, cases.worst);
  return replays.failed + invariant.failed + cases.failed == 0 ? 0 : 1;
}
