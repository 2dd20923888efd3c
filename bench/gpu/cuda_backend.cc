#include "cuda_backend.h"

#include <memory>
#include <utility>

#include "attention/host_backend.h"
#include "attention/kernel/gpu/simt_instances.h"
#include "attention/planned_work.h"
#include "cuda_attention.h"

namespace tessera {

namespace {

using kernel::KernelArgs;

// The bytes of `rows` tokens.
size_t Bytes(int64_t rows, int64_t token_stride, DType type) {
  return static_cast<size_t>(rows * token_stride) * SizeOf(type);
}

// A copy on the device of what `*pointer` points to, in whose place it comes; null stays.
template <class T>
std::unique_ptr<DeviceMemory> MoveToDevice(const T** pointer, size_t count) {
  if (*pointer == nullptr) return nullptr;
  std::unique_ptr<DeviceMemory> memory =
      std::make_unique<DeviceMemory>(*pointer, count * sizeof(T));
  *pointer = memory->as<T>();
  return memory;
}

class CudaCheckBackend : public HostBackend {
 public:
  explicit CudaCheckBackend(const BackendContext& context) : HostBackend(context) {}

  std::string Name() const override { return "cuda:mma_m16n8k16"; }
  Support Probe(const DeviceInfo&) const override { return {}; }
  Support Supports(const AttentionSpec& spec, int32_t block_size) const override {
    Support support;
    support.reasons = kernel::lanes::SimtRefusalReasons(spec, block_size);
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
    const int64_t tokens = batch.num_tokens;
    const int64_t plane = cache.num_blocks * cache.block_stride;
    const int64_t elements = cache.v_offset >= plane ? cache.v_offset + plane : plane;
    const bool paged = args.block_table != nullptr;
    const DeviceMemory query(run_args.query,
                             Bytes(tokens, args.query_token_stride, spec.query_dtype)),
        output(run_args.output, Bytes(tokens, args.output_token_stride, spec.output_dtype)),
        lse(run_args.lse, Bytes(tokens, spec.num_heads, DType::kFloat32)),
        keys(args.keys, paged ? Bytes(1, elements, spec.cache_dtype)
                              : Bytes(tokens, args.key_token_stride, spec.cache_dtype)),
        values(args.values, paged ? 0 : Bytes(tokens, args.value_token_stride, spec.cache_dtype));
    const size_t heads = static_cast<size_t>(spec.num_heads);
    const size_t scales = args.scale_head_stride != 0 ? static_cast<size_t>(spec.num_kv_heads) : 1;
    const std::unique_ptr<DeviceMemory> others[] = {
        MoveToDevice(&args.query_start_loc, seqs + 1),
        MoveToDevice(&args.seq_lens, seqs),
        MoveToDevice(&args.block_table, seqs * static_cast<size_t>(batch.block_table_stride)),
        MoveToDevice(&args.mask.causal_by_seq, seqs),
        MoveToDevice(&args.mask.prefix_ranges,
                     seqs * static_cast<size_t>(args.mask.max_prefix_ranges) * 2),
        MoveToDevice(&args.alibi_slopes, heads),
        MoveToDevice(&args.sinks, heads),
        MoveToDevice(&args.query_query_bias, seqs * static_cast<size_t>(args.bias_seq_stride)),
        MoveToDevice(&args.key_scales, scales),
        MoveToDevice(&args.value_scales, scales)};
    args.query = query.as<void>();
    args.keys = keys.as<void>();
    args.values =
        paged ? keys.as<char>() + Bytes(1, cache.v_offset, spec.cache_dtype) : values.as<char>();
    args.output = output.as<void>();
    args.lse = lse.as<float>();
    CudaStep(spec, work.work).Launch(args, nullptr);
    CheckCuda(cudaDeviceSynchronize(), "attention kernel");
    output.CopyTo(run_args.output, Bytes(tokens, args.output_token_stride, spec.output_dtype));
    lse.CopyTo(run_args.lse, Bytes(tokens, spec.num_heads, DType::kFloat32));
  }
};

}  // namespace

std::unique_ptr<Backend> CreateCudaCheckBackend(const BackendContext& context) {
  return std::make_unique<CudaCheckBackend>(context);
}

}  // namespace tessera
