// Times the attention backends on some workloads:
//   attention_bench [threads [seconds for each [type of query and output [type of the cache]]]]
// 32 query and 8 KV heads of 128, cache in pages of 16 tokens, in random order; all of it is
// bfloat16 unless other types are named, 8-bit caches have a scale for the tensor. Decode is set
// against the bandwidth of reading as many bytes, prefill against the rates of multiplying, all
// measured in the same run. One thread is timed by its processor time, so that neighbours on a busy
// machine count less. `reference` is left out: it is for comparing results.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <numeric>
#include <random>
#include <vector>

#include "base/memory.h"
#include "device/bandwidth.h"
#include "device/matrix_rate.h"
#include "tessera/tessera.h"

namespace {

using namespace tessera;

struct Workload {
  const char* name;
  int32_t sequences;
  int32_t query_len;
  int32_t seq_len;
};

constexpr Workload kWorkloads[] = {
    {"decode 1 x 4096", 1, 1, 4096},         {"decode 8 x 4096", 8, 1, 4096},
    {"decode 32 x 4096", 32, 1, 4096},       {"decode 8 x 16384", 8, 1, 16384},
    {"prefill 512, causal", 1, 512, 512},    {"prefill 2048, causal", 1, 2048, 2048},
    {"prefill 8192, causal", 1, 8192, 8192}, {"extend 256 behind 4096", 1, 256, 4352},
};

class Problem {
 public:
  Problem(const Workload& workload, DType type, DType cache_type)
      : spec_{.num_heads = 32, .num_kv_heads = 8, .head_size = 128} {
    spec_.query_dtype = type;
    spec_.output_dtype = type;
    spec_.cache_dtype = cache_type;
    const bool narrow = SizeOf(cache_type) == 1;
    if (narrow) spec_.kv_scales = ScaleMode::kPerTensor;
    KvCacheShape shape{.block_size = 16, .num_kv_heads = 8, .head_size = 128};
    const int32_t pages = (workload.seq_len + 15) / 16;
    shape.num_blocks = int64_t{pages} * workload.sequences;
    const int64_t elements = KvCacheElements(shape);
    bytes_ = static_cast<double>(elements) * static_cast<double>(SizeOf(cache_type));
    memory_ = std::move(AlignedBuffer::Allocate(static_cast<int64_t>(bytes_))).value();
    std::minstd_rand random(1);
    for (int64_t i = 0; i < elements; ++i) {
      const float value = static_cast<float>(random() % 2001) * 1e-3f - 1.0f;
      StoreFromFloat(cache_type, memory_.data(), i, narrow ? value / kScale : value);
    }
    cache_ = MakeKvCache(shape, cache_type, memory_.data());
    cache_.k_scale = cache_.v_scale = &kScale;
    for (int32_t s = 0; s < workload.sequences; ++s) {
      starts_.push_back((s + 1) * workload.query_len);
      lens_.push_back(workload.seq_len);
    }
    table_.resize(static_cast<size_t>(shape.num_blocks));
    std::iota(table_.begin(), table_.end(), 0);
    std::shuffle(table_.begin(), table_.end(), random);
    const int32_t tokens = starts_.back();
    query_.resize(static_cast<size_t>(tokens) * 32 * 128);
    for (size_t i = 0; i < query_.size(); ++i) {
      StoreFromFloat(type, query_.data(), static_cast<int64_t>(i),
                     static_cast<float>(random() % 2001) * 1e-3f - 1.0f);
    }
    output_.resize(query_.size());
    batch_ = {.num_seqs = workload.sequences,
              .num_tokens = tokens,
              .query_start_loc = starts_.data(),
              .seq_lens = lens_.data(),
              .block_table = table_.data(),
              .block_table_stride = pages,
              .max_query_len = workload.query_len,
              .max_seq_len = workload.seq_len};
    const double context = workload.seq_len - workload.query_len;
    const double rows = workload.query_len;
    flops_ = 4.0 * 32 * 128 * workload.sequences * (rows * context + rows * (rows + 1) / 2);
  }

  const AttentionSpec& spec() const { return spec_; }
  double bytes() const { return bytes_; }
  double flops() const { return flops_; }

  // Median seconds of a run, its plan included.
  double Time(Backend* backend, double budget, bool processor_time) {
    const auto now = [&] {
      if (processor_time) return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
      return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
          .count();
    };
    std::vector<double> seconds;
    std::unique_ptr<AttentionPlan> plan;
    double total = 0;
    while (seconds.size() < 3 || (total < budget && seconds.size() < 1000)) {
      const double begin = now();
      plan = backend->Plan(spec_, batch_, std::move(plan));
      backend->Run(*plan, spec_, batch_, cache_,
                   {.query = query_.data(),
                    .query_token_stride = 32 * 128,
                    .query_head_stride = 128,
                    .output = output_.data(),
                    .output_token_stride = 32 * 128,
                    .output_head_stride = 128});
      seconds.push_back(now() - begin);
      total += seconds.back();
    }
    std::sort(seconds.begin(), seconds.end());
    return seconds[seconds.size() / 2];
  }

 private:
  static constexpr float kScale = 0.01f;

  AttentionSpec spec_;
  AlignedBuffer memory_;
  KvCache cache_;
  std::vector<int32_t> starts_{0}, lens_, table_;
  std::vector<float> query_, output_;  // room for the widest type
  AttentionBatch batch_;
  double bytes_ = 0;
  double flops_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  ThreadPool pool({.num_threads = argc > 1 ? std::atoi(argv[1]) : 0});
  const double budget = argc > 2 ? std::atof(argv[2]) : 1.0;
  DType types[] = {DType::kBFloat16, DType::kBFloat16};  // of the query, of the cache
  for (int i = 0; i < std::min(2, argc - 3); ++i) {
    const auto parsed = ParseDType(argv[3 + i]);
    if (!parsed.ok()) {
      std::fprintf(stderr, "%s\n", parsed.error().message.c_str());
      return 1;
    }
    types[i] = *parsed;
  }
  std::printf("%d threads, queries %s, cache %s; 10^9 operations a second:", pool.num_threads(),
              ToString(types[0]), ToString(types[1]));
  std::vector<double> rates;
  for (MultiplyKind kind : {MultiplyKind::kFloat32, MultiplyKind::kBFloat16, MultiplyKind::kAmx}) {
    const double rate = MeasureMultiplyRate(pool, kind);
    if (rate == 0) continue;
    std::printf(" %s %.0f", ToString(kind), rate);
    rates.push_back(rate);
  }
  std::printf("\n\n%-24s %-10s %10s %8s %8s %9s %s\n", "workload", "backend", "ms", "GB/s",
              "of read", "GFLOP/s", "of these rates");
  const BackendContext context{DetectCpu(), &pool};
  for (const Workload& workload : kWorkloads) {
    Problem problem(workload, types[0], types[1]);
    const auto bandwidth = MeasureReadBandwidth(pool, static_cast<int64_t>(problem.bytes()), 9);
    if (!bandwidth.ok()) {
      std::fprintf(stderr, "%s\n", bandwidth.error().message.c_str());
      return 1;
    }
    const bool alone = pool.num_threads() == 1;
    const double limit = alone ? bandwidth->best : bandwidth->median;
    for (const BackendEntry& entry : BackendEntries()) {
      const auto backend = entry.create(context);
      if (entry.name == "reference" || !backend->Probe(context.device).ok() ||
          !backend->Supports(problem.spec(), 16).ok()) {
        continue;
      }
      const double seconds = problem.Time(backend.get(), budget, alone);
      std::printf("%-24s %-10s %10.2f ", workload.name, entry.name.c_str(), seconds * 1e3);
      if (workload.query_len == 1) {
        const double rate = problem.bytes() / seconds * 1e-9;
        std::printf("%8.1f %7.0f%%\n", rate, 100 * rate / limit);
        continue;
      }
      const double rate = problem.flops() / seconds * 1e-9;
      std::printf("%27.1f", rate);
      for (double multiply : rates) std::printf(" %4.0f%%", 100 * rate / multiply);
      std::printf("\n");
    }
  }
  return 0;
}
