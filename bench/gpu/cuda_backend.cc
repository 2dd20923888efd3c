#include "cuda_backend.h"

#include <memory>
#include <utility>

#include "attention/feature_check.h"
#include "attention/host_backend.h"
#include "attention/planned_work.h"
#include "cuda_attention.h"

namespace tessera {

namespace {

using kernel::KernelArgs;

const FeatureSet& Features() {
  static const FeatureSet features = [] {
    FeatureSet f;
    f.query_dtypes = {DType::kBFloat16};
    f.cache_dtypes = {DType::kBFloat16};
    f.output_dtypes = {DType::kBFloat16, DType::kFloat32};
    f.head_sizes = CudaHeadSizes();
    f.differing_value_size = false;
    f.window = true;
    f.chunks = true;
    f.soft_cap = true;
    f.alibi = true;
    f.sinks = true;
    return f;
  }();
  return features;
}

class CudaCheckBackend : public HostBackend {
 public:
  explicit CudaCheckBackend(const BackendContext& context) : HostBackend(context) {}

  std::string Name() const override { return "cuda:mma_m16n8k16"; }
  Support Probe(const DeviceInfo&) const override { return {}; }
  Support Supports(const AttentionSpec& spec, int32_t block_size) const override {
    Support support;
    support.reasons = RefusalReasons(Features(), spec, block_size);
    return support;
  }
  std::unique_ptr<AttentionPlan> Plan(const AttentionSpec& spec, const AttentionBatch& batch,
                                      std::unique_ptr<AttentionPlan> reuse) override {
    return PlanStep(spec, batch, CudaPlannerOptions(spec, batch), std::move(reuse));
  }
  void Run(const AttentionPlan& plan, const AttentionSpec& spec, const AttentionBatch& batch,
           const KvCache& cache, const RunArgs& run_args) override {
    auto& work = const_cast<PlannedWork&>(static_cast<const PlannedWork&>(plan));
    KernelArgs args = MakeKernelArgs(spec, batch, cache, run_args, &work);
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
              seqs * static_cast<size_t>(batch.block_table_stride) * sizeof(int32_t));
    const size_t head_bytes = static_cast<size_t>(spec.num_heads) * sizeof(float);
    std::unique_ptr<DeviceMemory> slopes, sinks;
    if (args.alibi_slopes != nullptr) {
      slopes = std::make_unique<DeviceMemory>(args.alibi_slopes, head_bytes);
      args.alibi_slopes = slopes->as<float>();
    }
    if (args.sinks != nullptr) {
      sinks = std::make_unique<DeviceMemory>(args.sinks, head_bytes);
      args.sinks = sinks->as<float>();
    }
    args.query = query.as<void>();
    args.keys = kv.as<void>();
    args.values = kv.as<uint16_t>() + cache.v_offset;
    args.output = output.as<void>();
    args.lse = lse.as<float>();
    args.query_start_loc = starts.as<int32_t>();
    args.seq_lens = lens.as<int32_t>();
    args.block_table = table.as<int32_t>();
    CudaStep(spec, work.work).Launch(args, nullptr);
    CheckCuda(cudaDeviceSynchronize(), "attention kernel");
    output.CopyTo(run_args.output, output_bytes);
    lse.CopyTo(run_args.lse, lse_bytes);
  }
};

}  // namespace

std::unique_ptr<Backend> CreateCudaCheckBackend(const BackendContext& context) {
  return std::make_unique<CudaCheckBackend>(context);
}

}  // namespace tessera
