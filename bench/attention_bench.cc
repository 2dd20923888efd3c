// Times every usable attention backend on some workloads: attention_bench [threads [seconds for
// each]]. Decode is set against the read bandwidth that was measured just before; 32 query and 8 KV
// heads of 128, bfloat16 cache in pages of 16 tokens, in random order.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <vector>

#include "base/memory.h"
#include "device/bandwidth.h"
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
    {"decode 1 x 4096", 1, 1, 4096},          {"decode 8 x 4096", 8, 1, 4096},
    {"decode 32 x 4096", 32, 1, 4096},        {"decode 8 x 16384", 8, 1, 16384},
    {"prefill 512, causal", 1, 512, 512},     {"prefill 2048, causal", 1, 2048, 2048},
    {"extend 256 behind 4096", 1, 256, 4352},
};

class Problem {
 public:
  explicit Problem(const Workload& workload)
      : spec_{.num_heads = 32, .num_kv_heads = 8, .head_size = 128} {
    spec_.query_dtype = DType::kFloat32;
    spec_.output_dtype = DType::kFloat32;
    KvCacheShape shape{.block_size = 16, .num_kv_heads = 8, .head_size = 128};
    const int32_t pages = (workload.seq_len + 15) / 16;
    shape.num_blocks = int64_t{pages} * workload.sequences;
    const int64_t elements = KvCacheElements(shape);
    memory_ = std::move(AlignedBuffer::Allocate(elements * 2)).value();
    uint16_t* data = reinterpret_cast<uint16_t*>(memory_.data());
    std::minstd_rand random(1);
    for (int64_t i = 0; i < elements; ++i) {
      data[i] = FloatToBFloat16(static_cast<float>(random() % 2001) * 1e-3f - 1.0f);
    }
    cache_ = MakeKvCache(shape, DType::kBFloat16, data);
    for (int32_t s = 0; s < workload.sequences; ++s) {
      starts_.push_back((s + 1) * workload.query_len);
      lens_.push_back(workload.seq_len);
    }
    table_.resize(static_cast<size_t>(shape.num_blocks));
    std::iota(table_.begin(), table_.end(), 0);
    std::shuffle(table_.begin(), table_.end(), random);
    const int32_t tokens = starts_.back();
    query_.resize(static_cast<size_t>(tokens) * 32 * 128);
    for (float& x : query_) x = static_cast<float>(random() % 2001) * 1e-3f - 1.0f;
    output_.resize(query_.size());
    batch_ = {.num_seqs = workload.sequences,
              .num_tokens = tokens,
              .query_start_loc = starts_.data(),
              .seq_lens = lens_.data(),
              .block_table = table_.data(),
              .block_table_stride = pages,
              .max_query_len = workload.query_len,
              .max_seq_len = workload.seq_len};
    bytes_ = static_cast<double>(elements) * 2;
    const double context = workload.seq_len - workload.query_len;
    const double rows = workload.query_len;
    flops_ = 4.0 * 32 * 128 * workload.sequences * (rows * context + rows * (rows + 1) / 2);
  }

  const AttentionSpec& spec() const { return spec_; }
  double bytes() const { return bytes_; }
  double flops() const { return flops_; }

  // Median seconds of a run, its plan included.
  double Time(Backend* backend, double budget) {
    std::vector<double> seconds;
    std::unique_ptr<AttentionPlan> plan;
    double total = 0;
    while (seconds.size() < 3 || (total < budget && seconds.size() < 1000)) {
      const auto begin = std::chrono::steady_clock::now();
      plan = backend->Plan(spec_, batch_, std::move(plan));
      backend->Run(*plan, spec_, batch_, cache_,
                   {.query = query_.data(),
                    .query_token_stride = 32 * 128,
                    .query_head_stride = 128,
                    .output = output_.data(),
                    .output_token_stride = 32 * 128,
                    .output_head_stride = 128});
      seconds.push_back(
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
      total += seconds.back();
    }
    std::sort(seconds.begin(), seconds.end());
    return seconds[seconds.size() / 2];
  }

 private:
  AttentionSpec spec_;
  AlignedBuffer memory_;
  KvCache cache_;
  std::vector<int32_t> starts_{0}, lens_, table_;
  std::vector<float> query_, output_;
  AttentionBatch batch_;
  double bytes_ = 0;
  double flops_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  ThreadPool pool({.num_threads = argc > 1 ? std::atoi(argv[1]) : 0});
  const double budget = argc > 2 ? std::atof(argv[2]) : 1.0;
  const auto bandwidth = MeasureReadBandwidth(pool, int64_t{1} << 30);
  if (!bandwidth.ok()) {
    std::fprintf(stderr, "%s\n", bandwidth.error().message.c_str());
    return 1;
  }
  std::printf("%d threads, read bandwidth %.1f GB/s\n\n", pool.num_threads(), bandwidth->median);
  std::printf("%-24s %-10s %10s %10s %8s %10s\n", "workload", "backend", "ms", "GB/s", "of read",
              "GFLOP/s");
  const BackendContext context{DetectCpu(), &pool};
  for (const Workload& workload : kWorkloads) {
    Problem problem(workload);
    for (const BackendEntry& entry : BackendEntries()) {
      const auto backend = entry.create(context);
      if (!backend->Probe(context.device).ok() || !backend->Supports(problem.spec(), 16).ok())
        continue;
      const double seconds = problem.Time(backend.get(), budget);
      const double rate = problem.bytes() / seconds * 1e-9;
      std::printf("%-24s %-10s %10.2f %10.1f %7.0f%% %10.1f\n", workload.name, entry.name.c_str(),
                  seconds * 1e3, rate, 100 * rate / bandwidth->median,
                  problem.flops() / seconds * 1e-9);
    }
  }
  return 0;
}
