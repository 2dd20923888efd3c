#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "attention/cache_ops.h"
#include "attention/feature_check.h"
#include "attention/kernel/tiles_simt.h"
#include "attention/planned_work.h"
#include "cuda_backend.h"

namespace tessera {

namespace {

using kernel::KernelArgs;
using kernel::WorkItem;

void Check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

class DeviceMemory {
 public:
  explicit DeviceMemory(size_t bytes) : bytes_(std::max<size_t>(bytes, 16)) {
    Check(cudaMalloc(&data_, bytes_), "cudaMalloc");
  }
  DeviceMemory(const void* source, size_t bytes) : DeviceMemory(bytes) {
    Check(cudaMemcpy(data_, source, bytes, cudaMemcpyHostToDevice), "copy to the device");
  }
  ~DeviceMemory() { cudaFree(data_); }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  void CopyTo(void* destination, size_t bytes) const {
    Check(cudaMemcpy(destination, data_, bytes, cudaMemcpyDeviceToHost), "copy from the device");
  }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  size_t bytes_;
};

template <class Tiles, kernel::Logits kLogits>
__global__ void __launch_bounds__(Tiles::kThreads)
    AttentionKernel(KernelArgs args, const WorkItem* items) {
  kernel::lanes::RunBlock<Tiles, kLogits>(args, items);
}

struct CudaKernel {
  int32_t head_size;
  bool float_output;
  kernel::Logits logits;
  int32_t rows;
  int32_t threads;
  void (*launch)(const KernelArgs& args, const WorkItem* items, int count);
};

constexpr int32_t kStepKeys = 32;

template <int kHeadSize, int kWaves, bool kFloatOutput, kernel::Logits kLogits>
CudaKernel MakeKernel() {
  using Tiles =
      kernel::lanes::SimtTiles<kernel::MmaM16N8K16, kHeadSize, kStepKeys, kWaves, kFloatOutput>;
  return {kHeadSize,
          kFloatOutput,
          kLogits,
          Tiles::kRows,
          Tiles::kThreads,
          [](const KernelArgs& args, const WorkItem* items, int count) {
            AttentionKernel<Tiles, kLogits><<<count, Tiles::kThreads>>>(args, items);
          }};
}

template <int kHeadSize>
void Append(std::vector<CudaKernel>* kernels) {
  kernels->push_back(MakeKernel<kHeadSize, 4, false, kernel::Logits::kScaled>());
  kernels->push_back(MakeKernel<kHeadSize, 4, true, kernel::Logits::kScaled>());
  kernels->push_back(MakeKernel<kHeadSize, 4, false, kernel::Logits::kSoftCapped>());
  kernels->push_back(MakeKernel<kHeadSize, 4, true, kernel::Logits::kSoftCapped>());
}

const std::vector<CudaKernel>& Kernels() {
  static const std::vector<CudaKernel> kernels = [] {
    std::vector<CudaKernel> list;
    Append<32>(&list);
    Append<64>(&list);
    Append<96>(&list);
    Append<128>(&list);
    return list;
  }();
  return kernels;
}

const CudaKernel& FindKernel(const AttentionSpec& spec) {
  for (const CudaKernel& kernel : Kernels()) {
    if (kernel.head_size == spec.head_size &&
        kernel.float_output == (spec.output_dtype == DType::kFloat32) &&
        kernel.logits == LogitsOf(spec)) {
      return kernel;
    }
  }
  TESSERA_CHECK(false, "a spec that Supports() refuses: " + ToString(spec));
  return Kernels().front();
}

const FeatureSet& Features() {
  static const FeatureSet features = [] {
    FeatureSet f;
    f.query_dtypes = {DType::kBFloat16};
    f.cache_dtypes = {DType::kBFloat16};
    f.output_dtypes = {DType::kBFloat16, DType::kFloat32};
    f.head_sizes = {32, 64, 96, 128};
    f.differing_value_size = false;
    f.window = true;
    f.soft_cap = true;
    return f;
  }();
  return features;
}

class CudaCheckBackend : public Backend {
 public:
  explicit CudaCheckBackend(const BackendContext& context) : threads_(context.threads) {}

  std::string Name() const override { return "cuda:mma_m16n8k16"; }
  Support Probe(const DeviceInfo&) const override { return {}; }
  Support Supports(const AttentionSpec& spec, int32_t block_size) const override {
    Support support;
    support.reasons = RefusalReasons(Features(), spec, block_size);
    return support;
  }
  std::unique_ptr<AttentionPlan> Plan(const AttentionSpec& spec, const AttentionBatch& batch,
                                      std::unique_ptr<AttentionPlan> reuse) override {
    PlannerOptions options;
    options.workers = 132;
    options.max_rows = FindKernel(spec).rows;
    options.key_step = kStepKeys;
    options.min_split_keys = 4 * kStepKeys;
    return PlanStep(spec, batch, options, std::move(reuse));
  }
  void WriteKv(const AttentionSpec& spec, const AttentionBatch& batch, const WriteKvArgs& args,
               const KvCache& cache) override {
    HostWriteKv(spec, batch, args, cache, threads_);
  }

  void Run(const AttentionPlan& plan, const AttentionSpec& spec, const AttentionBatch& batch,
           const KvCache& cache, const RunArgs& run_args) override {
    auto& work = const_cast<PlannedWork&>(static_cast<const PlannedWork&>(plan));
    KernelArgs args = MakeKernelArgs(spec, batch, cache, run_args, &work);
    const KernelArgs host_args = args;
    if (work.work.items.empty()) return;

    const size_t seqs = static_cast<size_t>(batch.num_seqs);
    const int64_t plane = cache.num_blocks * cache.block_stride;
    const size_t cache_bytes =
        static_cast<size_t>(cache.v_offset >= plane ? cache.v_offset + plane : plane) *
        sizeof(uint16_t);
    const size_t query_bytes =
        static_cast<size_t>(batch.num_tokens * run_args.query_token_stride) * sizeof(uint16_t);
    const size_t output_bytes =
        static_cast<size_t>(batch.num_tokens * run_args.output_token_stride) *
        SizeOf(spec.output_dtype);
    const size_t lse_bytes =
        static_cast<size_t>(batch.num_tokens) * static_cast<size_t>(spec.num_heads) * sizeof(float);
    const DeviceMemory query(run_args.query, query_bytes), kv(cache.data, cache_bytes),
        output(run_args.output, output_bytes), lse(run_args.lse, lse_bytes),
        starts(batch.query_start_loc, (seqs + 1) * sizeof(int32_t)),
        lens(batch.seq_lens, seqs * sizeof(int32_t)),
        table(batch.block_table,
              seqs * static_cast<size_t>(batch.block_table_stride) * sizeof(int32_t)),
        items(work.work.items.data(), work.work.items.size() * sizeof(WorkItem)),
        partial_output(work.partial_output.size() * sizeof(float)),
        partial_lse(work.partial_lse.size() * sizeof(float));
    args.query = query.as<void>();
    args.keys = kv.as<void>();
    args.values = kv.as<uint16_t>() + cache.v_offset;
    args.output = output.as<void>();
    args.lse = lse.as<float>();
    args.query_start_loc = starts.as<int32_t>();
    args.seq_lens = lens.as<int32_t>();
    args.block_table = table.as<int32_t>();
    args.partial_output = partial_output.as<float>();
    args.partial_lse = partial_lse.as<float>();
    FindKernel(spec).launch(args, items.as<WorkItem>(), static_cast<int>(work.work.items.size()));
    Check(cudaGetLastError(), "launch");
    Check(cudaDeviceSynchronize(), "attention kernel");
    output.CopyTo(run_args.output, output_bytes);
    lse.CopyTo(run_args.lse, lse_bytes);
    partial_output.CopyTo(work.partial_output.data(), work.partial_output.size() * sizeof(float));
    partial_lse.CopyTo(work.partial_lse.data(), work.partial_lse.size() * sizeof(float));
    for (const kernel::MergeItem& merge : work.work.merges) MergeRows(spec, host_args, merge);
  }

  void CopyBlocks(const AttentionSpec& spec, const KvCache& cache,
                  const std::vector<BlockPair>& pairs) override {
    HostCopyBlocks(spec, cache, cache, pairs);
  }
  void SwapBlocks(const AttentionSpec& spec, const KvCache& source, const KvCache& destination,
                  const std::vector<BlockPair>& pairs) override {
    HostCopyBlocks(spec, source, destination, pairs);
  }

 private:
  ThreadPool* threads_;
};

template <class F>
double MedianMilliseconds(int repeats, const F& run) {
  cudaEvent_t begin, end;
  Check(cudaEventCreate(&begin), "event");
  Check(cudaEventCreate(&end), "event");
  std::vector<float> times;
  for (int i = 0; i < repeats + 2; ++i) {
    Check(cudaEventRecord(begin), "record");
    run();
    Check(cudaEventRecord(end), "record");
    Check(cudaEventSynchronize(end), "synchronize");
    float ms = 0;
    Check(cudaEventElapsedTime(&ms, begin, end), "elapsed");
    if (i >= 2) times.push_back(ms);
  }
  Check(cudaGetLastError(), "timed kernel");
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

__global__ void FillRandom(uint16_t* data, int64_t count, uint32_t seed) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count;
       i += int64_t{gridDim.x} * blockDim.x) {
    uint32_t x = static_cast<uint32_t>(i) * 2654435761u + seed;
    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    data[i] = static_cast<uint16_t>(
        simt::BFloat16Bits(static_cast<float>(x & 0xffff) * (2.0f / 65536.0f) - 1.0f));
  }
}

__global__ void SumWords(const uint4* data, int64_t count, uint32_t* out) {
  uint32_t sum = 0;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count;
       i += int64_t{gridDim.x} * blockDim.x) {
    const uint4 v = data[i];
    sum += v.x ^ v.y ^ v.z ^ v.w;
  }
  if (sum == 0x12345678u) *out = sum;
}

}  // namespace

std::unique_ptr<Backend> CreateCudaCheckBackend(const BackendContext& context) {
  return std::make_unique<CudaCheckBackend>(context);
}

CudaTiming TimeCudaAttention(int32_t sequences, int32_t query_len, int32_t seq_len, int repeats) {
  AttentionSpec spec;
  spec.num_heads = 32;
  spec.num_kv_heads = 8;
  spec.head_size = 128;
  KvCacheShape shape;
  shape.block_size = 16;
  shape.num_kv_heads = spec.num_kv_heads;
  shape.head_size = spec.head_size;
  shape.order = KvOrder::kBlockTokenHead;
  const int32_t pages = (seq_len + shape.block_size - 1) / shape.block_size;
  shape.num_blocks = int64_t{pages} * sequences;
  const int64_t elements = KvCacheElements(shape);
  const DeviceMemory memory(static_cast<size_t>(elements) * 2);
  FillRandom<<<1024, 256>>>(memory.as<uint16_t>(), elements, 1);

  std::vector<int32_t> starts{0}, lens, table(static_cast<size_t>(shape.num_blocks));
  for (int32_t s = 0; s < sequences; ++s) {
    starts.push_back(starts.back() + query_len);
    lens.push_back(seq_len);
  }
  std::iota(table.begin(), table.end(), 0);
  std::shuffle(table.begin(), table.end(), std::mt19937(1));
  AttentionBatch batch;
  batch.num_seqs = sequences;
  batch.num_tokens = starts.back();
  batch.query_start_loc = starts.data();
  batch.seq_lens = lens.data();
  batch.block_table = table.data();
  batch.block_table_stride = pages;

  PlannerOptions options;
  options.workers = 132;
  options.max_rows = FindKernel(spec).rows;
  options.key_step = kStepKeys;
  auto plan = PlanStep(spec, batch, options, nullptr);
  const int64_t row = int64_t{spec.num_heads} * spec.head_size;
  const DeviceMemory query(static_cast<size_t>(batch.num_tokens * row) * 2),
      output(static_cast<size_t>(batch.num_tokens * row) * 2),
      d_starts(starts.data(), starts.size() * 4), d_lens(lens.data(), lens.size() * 4),
      d_table(table.data(), table.size() * 4),
      items(plan->work.items.data(), plan->work.items.size() * sizeof(WorkItem)),
      partial_output(plan->partial_output.size() * 4), partial_lse(plan->partial_lse.size() * 4);
  FillRandom<<<1024, 256>>>(query.as<uint16_t>(), batch.num_tokens * row, 2);
  const KvCache cache = MakeKvCache(shape, DType::kBFloat16, memory.as<void>());
  RunArgs run;
  run.query = query.as<void>();
  run.query_token_stride = run.output_token_stride = row;
  run.query_head_stride = run.output_head_stride = spec.head_size;
  run.output = output.as<void>();
  KernelArgs args = MakeKernelArgs(spec, batch, cache, run, plan.get());
  args.query_start_loc = d_starts.as<int32_t>();
  args.seq_lens = d_lens.as<int32_t>();
  args.block_table = d_table.as<int32_t>();
  args.partial_output = partial_output.as<float>();
  args.partial_lse = partial_lse.as<float>();
  const CudaKernel& kernel = FindKernel(spec);
  const int count = static_cast<int>(plan->work.items.size());

  CudaTiming timing;
  timing.milliseconds =
      MedianMilliseconds(repeats, [&] { kernel.launch(args, items.as<WorkItem>(), count); });
  timing.bytes = static_cast<double>(elements) * 2;
  const double context = seq_len - query_len;
  timing.flops = 4.0 * spec.num_heads * spec.head_size * sequences *
                 (query_len * context + 0.5 * query_len * (query_len + 1.0));
  return timing;
}

double CudaReadBandwidth() {
  const int64_t bytes = int64_t{8} << 30;
  const DeviceMemory memory(static_cast<size_t>(bytes)), out(4);
  FillRandom<<<1024, 256>>>(memory.as<uint16_t>(), bytes / 2, 3);
  const double ms = MedianMilliseconds(
      9, [&] { SumWords<<<132 * 16, 512>>>(memory.as<uint4>(), bytes / 16, out.as<uint32_t>()); });
  return static_cast<double>(bytes) / ms * 1e-6;
}

}  // namespace tessera
