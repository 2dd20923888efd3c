// Times the portable kernel on an NVIDIA GPU, next to the chip's own limit for reading memory.
//
// Heads 32/8 of 128, bfloat16, then the same with a cache of fp8, pages of 16 tokens. All keys and
// values lie in one pool far larger than the cache; page tables are random permutations of all of
// it. One CUDA graph holds several steps, each with a page table of its own (2 GB of keys and
// values at least), so that none finds its keys in the cache. The median of the graph's replays is
// divided by its steps.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "attention/kernel/gpu/simt.h"
#include "cuda_attention.h"

namespace tessera {
namespace {

struct Request {
  int32_t query_len;
  int32_t seq_len;
};

// Of the bits, those of `mask`: e4m3fn without the second bit of each byte holds no NaN.
__global__ void FillRandom(uint16_t* data, int64_t count, uint32_t seed, uint32_t mask) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count;
       i += int64_t{gridDim.x} * blockDim.x) {
    uint32_t x = static_cast<uint32_t>(i) * 2654435761u + seed;
    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    data[i] = static_cast<uint16_t>(
        simt::BFloat16Bits(static_cast<float>(x & 0xffff) * (4.0f / 65536.0f) - 2.0f) & mask);
  }
}

// Each block reads 4 KiB at a time; eight loads of a thread are under way together.
__global__ void ReadAll(const uint4* data, int64_t count, uint32_t* out) {
  constexpr int kLoads = 8;
  uint32_t sum = 0;
  const int64_t step = int64_t{gridDim.x} * blockDim.x * kLoads;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} * kLoads + threadIdx.x;
       i + (kLoads - 1) * blockDim.x < count; i += step) {
    uint4 v[kLoads];
#pragma unroll
    for (int j = 0; j < kLoads; ++j) v[j] = data[i + j * blockDim.x];
#pragma unroll
    for (int j = 0; j < kLoads; ++j) sum += v[j].x ^ v[j].y ^ v[j].z ^ v[j].w;
  }
  if (sum == 0x12345678u) *out = sum;
}

// Seconds of one run of `launches` captured launches.
double Median(int replays, const std::function<void(cudaStream_t)>& launches) {
  cudaStream_t stream;
  CheckCuda(cudaStreamCreate(&stream), "stream");
  CheckCuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "capture");
  launches(stream);
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  CheckCuda(cudaStreamEndCapture(stream, &graph), "capture");
  CheckCuda(cudaGraphInstantiate(&executable, graph, 0), "graph");
  cudaEvent_t begin, end;
  CheckCuda(cudaEventCreate(&begin), "event");
  CheckCuda(cudaEventCreate(&end), "event");
  std::vector<float> times;
  for (int i = 0; i < replays + 2; ++i) {
    CheckCuda(cudaEventRecord(begin, stream), "record");
    CheckCuda(cudaGraphLaunch(executable, stream), "graph");
    CheckCuda(cudaEventRecord(end, stream), "record");
    CheckCuda(cudaStreamSynchronize(stream), "a timed step");
    float ms = 0;
    CheckCuda(cudaEventElapsedTime(&ms, begin, end), "elapsed");
    if (i >= 2) times.push_back(ms);
  }
  std::sort(times.begin(), times.end());
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
  return times[times.size() / 2] * 1e-3;
}

class Bench {
 public:
  Bench(int64_t pool_bytes, DType cache) : pool_(static_cast<size_t>(pool_bytes)) {
    spec_.cache_dtype = cache;
    spec_.num_heads = 32;
    spec_.num_kv_heads = 8;
    spec_.head_size = 128;
    shape_.block_size = 16;
    shape_.num_kv_heads = spec_.num_kv_heads;
    shape_.head_size = spec_.head_size;
    shape_.order = KvOrder::kBlockTokenHead;
    shape_.num_blocks = 1;
    page_bytes_ = KvCacheElements(shape_) * static_cast<int64_t>(SizeOf(cache));
    shape_.num_blocks = pool_bytes / page_bytes_;
    FillRandom<<<132 * 16, 256>>>(pool_.as<uint16_t>(), pool_bytes / 2, 1,
                                  SizeOf(cache) == 1 ? 0xbfbfu : 0xffffu);
    CheckCuda(cudaDeviceSynchronize(), "filling the pool");
    pages_.resize(static_cast<size_t>(shape_.num_blocks));
    std::iota(pages_.begin(), pages_.end(), 0);
    std::shuffle(pages_.begin(), pages_.end(), std::mt19937(1));
  }

  void Read() {
    const DeviceMemory out(4);
    const int64_t bytes = std::min<int64_t>(shape_.num_blocks * page_bytes_, int64_t{8} << 30);
    double best = 1e9;
    for (unsigned blocks : {2u, 4u, 8u, 16u}) {
      for (unsigned threads : {256u, 512u}) {
        if (blocks * threads > 2048) continue;
        best = std::min(best, Median(5, [&](cudaStream_t stream) {
                          ReadAll<<<132 * blocks, threads, 0, stream>>>(
                              pool_.as<uint4>(), bytes / 16, out.as<uint32_t>());
                        }));
      }
    }
    bandwidth_ = static_cast<double>(bytes) / best;
    std::printf("pure read, linear: %.0f GB/s\n", bandwidth_ * 1e-9);
  }

  void Time(const std::string& name, const std::vector<Request>& requests) {
    std::vector<int32_t> starts{0}, lens;
    int64_t most_pages = 0;
    double bytes = 0, flops = 0;
    for (const Request& r : requests) {
      starts.push_back(starts.back() + r.query_len);
      lens.push_back(r.seq_len);
      most_pages = std::max<int64_t>(most_pages, (r.seq_len + 15) / 16);
      bytes += (r.seq_len + 15) / 16 * static_cast<double>(page_bytes_);
      const double context = r.seq_len - r.query_len;
      flops += 4.0 * spec_.num_heads * spec_.head_size *
               (r.query_len * context + 0.5 * r.query_len * (r.query_len + 1.0));
    }
    const double at_limits = std::max(bytes / bandwidth_, flops / 8e14);
    const int steps = static_cast<int>(std::clamp(std::min(2e9 / bytes, 0.05 / at_limits),
                                                  flops / bytes > 200 ? 4.0 : 2.0, 256.0));

    const int64_t table_size = most_pages * static_cast<int64_t>(requests.size());
    std::vector<int32_t> table(static_cast<size_t>(table_size * steps));
    for (int32_t& page : table) page = pages_[next_page_++ % pages_.size()];
    AttentionBatch batch;
    batch.num_seqs = static_cast<int32_t>(requests.size());
    batch.num_tokens = starts.back();
    batch.query_start_loc = starts.data();
    batch.seq_lens = lens.data();
    batch.block_table = table.data();
    batch.block_table_stride = most_pages;
    auto plan = PlanStep(spec_, batch, CudaPlannerOptions(spec_, batch), nullptr);
    const CudaStep step(spec_, plan->work);

    const int64_t row = int64_t{spec_.num_heads} * spec_.head_size;
    const size_t query_bytes = static_cast<size_t>(batch.num_tokens * row) * 2;
    const DeviceMemory query(query_bytes), output(query_bytes), d_starts(starts), d_lens(lens),
        d_table(table);
    FillRandom<<<1024, 256>>>(query.as<uint16_t>(), batch.num_tokens * row, 2, 0xffffu);
    CheckCuda(cudaDeviceSynchronize(), "filling the query");
    const KvCache cache = MakeKvCache(shape_, spec_.cache_dtype, pool_.as<void>());
    RunArgs run;
    run.query = query.as<void>();
    run.query_token_stride = run.output_token_stride = row;
    run.query_head_stride = run.output_head_stride = spec_.head_size;
    run.output = output.as<void>();
    kernel::KernelArgs args = MakeKernelArgs(spec_, batch, cache, run, plan.get());
    args.query_start_loc = d_starts.as<int32_t>();
    args.seq_lens = d_lens.as<int32_t>();

    const double seconds = Median(9,
                                  [&](cudaStream_t stream) {
                                    for (int i = 0; i < steps; ++i) {
                                      args.block_table = d_table.as<int32_t>() + i * table_size;
                                      step.Launch(args, stream);
                                    }
                                  }) /
                           steps;
    std::printf("%-24s %9.1f us", name.c_str(), seconds * 1e6);
    std::printf("  %6.0f GB/s = %3.0f %% of the pure read", bytes / seconds * 1e-9,
                100 * bytes / seconds / bandwidth_);
    std::printf("  %6.1f TFLOP/s  (%zu items, %zu merges, %d steps)\n", flops / seconds * 1e-12,
                plan->work.items.size(), plan->work.merges.size(), steps);
    std::fflush(stdout);
  }

 private:
  AttentionSpec spec_;
  KvCacheShape shape_;
  DeviceMemory pool_;
  int64_t page_bytes_ = 0;
  std::vector<int32_t> pages_;
  size_t next_page_ = 0;
  double bandwidth_ = 4e12;
};

std::vector<Request> Same(size_t count, int32_t query_len, int32_t seq_len) {
  return std::vector<Request>(count, Request{query_len, seq_len});
}

}  // namespace
}  // namespace tessera

int main() {
  using tessera::DType;
  using tessera::Request;
  using tessera::Same;
  for (DType cache : {DType::kBFloat16, DType::kE4M3FN}) {
    std::printf("cache %s\n", ToString(cache));
    tessera::Bench bench(int64_t{16} << 30, cache);
    bench.Read();
    bench.Time("decode 1 x 1k", Same(1, 1, 1024));
    bench.Time("decode 1 x 4k", Same(1, 1, 4096));
    bench.Time("decode 1 x 16k", Same(1, 1, 16384));
    bench.Time("decode 8 x 4k", Same(8, 1, 4096));
    bench.Time("decode 8 x 16k", Same(8, 1, 16384));
    bench.Time("decode 32 x 4k", Same(32, 1, 4096));
    bench.Time("decode 128 x 1k", Same(128, 1, 1024));
    bench.Time("decode 128 x 4k", Same(128, 1, 4096));
    bench.Time("prefill 1 x 2k", Same(1, 2048, 2048));
    bench.Time("prefill 8 x 2k", Same(8, 2048, 2048));
    bench.Time("prefill 1 x 8k", Same(1, 8192, 8192));
    bench.Time("prefill 1 x 32k", Same(1, 32768, 32768));
    std::vector<Request> mixed = Same(32, 1, 4096);
    mixed.push_back({2048, 8192});
    bench.Time("32 decodes, chunk 2k/8k", mixed);
  }
}
