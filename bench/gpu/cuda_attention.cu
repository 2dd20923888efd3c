#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "attention/kernel/gpu/block_shapes.h"
#include "attention/kernel/gpu/merge_simt.h"
#include "attention/kernel/gpu/tiles_simt.h"
#include "cuda_attention.h"

namespace tessera {

namespace {

using kernel::KernelArgs;
using kernel::Logits;
using kernel::WorkItem;
using kernel::lanes::NvidiaManyRows;
using kernel::lanes::NvidiaShape;
using kernel::lanes::SimtInstance;

template <class Tiles, Logits kLogits, int kBlocks>
__global__ void __launch_bounds__(Tiles::kThreads, kBlocks)
    AttentionKernel(const __grid_constant__ KernelArgs args, const WorkItem* items) {
  kernel::lanes::RunBlock<Tiles, kLogits>(args, items);
}

constexpr int kMergeThreads = 128, kBlocksPerMerge = 4;

__global__ void __launch_bounds__(kMergeThreads)
    MergeKernel(const __grid_constant__ KernelArgs args, const kernel::MergeItem* merges) {
  kernel::lanes::MergeBlock(args, merges, kBlocksPerMerge, kMergeThreads);
}

template <SimtInstance kInstance, NvidiaShape kShape>
void Append(std::vector<CudaKernel>* kernels) {
  using Tiles = kernel::lanes::SimtTiles<kernel::MmaM16N8K16, kInstance.cache, kInstance.head_size,
                                         kShape.shape, kInstance.general>;
  const int32_t shared = sizeof(typename Tiles::Shared);
  const auto function = &AttentionKernel<Tiles, kInstance.logits, kShape.blocks>;
  CheckCuda(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, shared),
            "shared memory");
  kernels->push_back({kInstance, Tiles::kRows, Tiles::kThreads, shared, function});
}

#if defined(TESSERA_GPU_BENCH_ONLY)
constexpr bool IsTimed(const SimtInstance& instance) {
  return instance.head_size == 128 && instance.logits == Logits::kScaled &&
         (instance.cache == DType::kE4M3FN || !instance.general);
}
#else
constexpr bool IsTimed(const SimtInstance&) { return true; }
#endif

// For each instance the kernel for few rows first.
const std::vector<CudaKernel>& Kernels() {
  static const std::vector<CudaKernel> kernels = [] {
    std::vector<CudaKernel> list;
    kernel::lanes::ForEachSimtInstance([&]<SimtInstance kInstance>() {
      if constexpr (IsTimed(kInstance)) {
        constexpr bool kBytes = SizeOf(kInstance.cache) == 1;
        Append<kInstance, kernel::lanes::NvidiaFewRows(kInstance.head_size, kBytes)>(&list);
        Append<kInstance, kernel::lanes::NvidiaManyRows(kInstance.head_size)>(&list);
      }
    });
    return list;
  }();
  return kernels;
}

// The best kernel that holds so many rows.
const CudaKernel& FindKernel(const AttentionSpec& spec, int32_t rows) {
  for (const CudaKernel& kernel : Kernels()) {
    if (kernel.rows >= rows && Takes(kernel.instance, spec)) return kernel;
  }
  TESSERA_CHECK(false, "a spec that no kernel was compiled for: " + ToString(spec));
  return Kernels().front();
}

int32_t HeadSize(const AttentionSpec& spec) { return std::max(spec.head_size, spec.value_size()); }

int32_t MaxRows(const AttentionSpec& spec) {
  return 16 * NvidiaManyRows(HeadSize(spec)).shape.row_waves *
         NvidiaManyRows(HeadSize(spec)).shape.row_tiles;
}

}  // namespace

void CheckCuda(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

DeviceMemory::DeviceMemory(size_t bytes) {
  CheckCuda(cudaMalloc(&data_, std::max<size_t>(bytes, 16)), "cudaMalloc");
}
DeviceMemory::DeviceMemory(const void* source, size_t bytes) : DeviceMemory(bytes) {
  CheckCuda(cudaMemcpy(data_, source, bytes, cudaMemcpyHostToDevice), "copy to the device");
}
DeviceMemory::~DeviceMemory() { cudaFree(data_); }
void DeviceMemory::CopyTo(void* destination, size_t bytes) const {
  CheckCuda(cudaMemcpy(destination, data_, bytes, cudaMemcpyDeviceToHost), "copy from the device");
}

PlannerOptions CudaPlannerOptions(const AttentionSpec& spec, const AttentionBatch& batch) {
  int32_t processors = 0;
  CheckCuda(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, 0), "device");
  bool few = true;
  for (int32_t seq = 0; seq < batch.num_seqs; ++seq) {
    few = few && batch.QueryLen(seq) * spec.group_size() <= FindKernel(spec, 1).rows;
  }
  PlannerOptions options;
  const bool bytes = SizeOf(spec.cache_dtype) == 1;
  const int32_t size = HeadSize(spec);
  options.workers =
      processors * (few ? kernel::lanes::NvidiaFewRows(size, bytes) : NvidiaManyRows(size)).blocks;
  options.max_rows = MaxRows(spec);
  options.key_step = 64;
  options.min_split_keys = 128;
  // Measured on an H200: what a key of 512 bytes takes to read, 128 rows of products take half as
  // long again; 40 keys until an item's first ones have arrived; 2 for each row of a partial
  // result.
  options.load_cost = 176;
  options.item_cost = 7000;
  options.merge_cost = 360;
  options.whole_waves = true;
  return options;
}

CudaStep::CudaStep(const AttentionSpec& spec, const WorkList& work) {
  std::vector<WorkItem> items = work.items;
  const CudaKernel& few = FindKernel(spec, 1);
  const auto many = std::stable_partition(
      items.begin(), items.end(), [&](const WorkItem& i) { return i.row_count <= few.rows; });
  const auto append = [&](const CudaKernel& kernel, std::vector<WorkItem> group) {
    if (group.empty()) return;
    groups_.push_back(
        {&kernel, std::make_unique<DeviceMemory>(group), static_cast<unsigned>(group.size())});
  };
  append(FindKernel(spec, MaxRows(spec)), {many, items.end()});
  append(few, {items.begin(), many});
  merge_count_ = static_cast<unsigned>(work.merges.size());
  merges_ = std::make_unique<DeviceMemory>(work.merges);
  const size_t rows = static_cast<size_t>(work.partial_rows);
  partial_output_ =
      std::make_unique<DeviceMemory>(rows * static_cast<size_t>(spec.value_size()) * sizeof(float));
  partial_lse_ = std::make_unique<DeviceMemory>(rows * sizeof(float));
}

void CudaStep::Launch(KernelArgs args, cudaStream_t stream) const {
  args.partial_output = partial_output_->as<float>();
  args.partial_lse = partial_lse_->as<float>();
  for (const Group& group : groups_) {
    group.kernel->function<<<group.count, static_cast<unsigned>(group.kernel->threads),
                             static_cast<size_t>(group.kernel->shared_bytes), stream>>>(
        args, group.items->as<WorkItem>());
  }
  if (merge_count_ > 0) {
    MergeKernel<<<merge_count_ * kBlocksPerMerge, kMergeThreads, 0, stream>>>(
        args, merges_->as<kernel::MergeItem>());
  }
  CheckCuda(cudaGetLastError(), "launch");
}

}  // namespace tessera
