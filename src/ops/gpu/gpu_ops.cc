#include "ops/gpu/gpu_ops.h"

#include <string>
#include <utility>

#include "ops/gpu/gpu_kernels.h"
#include "ops/gpu/gpu_matmul.h"
#include "ops/gpu/gpu_sampler.h"
#include "ops/gpu/kernels/norm.h"
#include "ops/gpu/kernels/qk_norm_rope.h"
#include "ops/gpu/kernels/rows.h"

namespace tessera {
namespace ops_gpu {
namespace {

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
bool IsAligned(const void* p, uintptr_t bytes) {
  return reinterpret_cast<uintptr_t>(p) % bytes == 0;
}

// Whether rows begin at multiples of 16 bytes.
bool HasAlignedRows(const Tensor& t) {
  return IsAligned(t.data, 16) && t.stride * static_cast<int64_t>(SizeOf(t.dtype)) % 16 == 0;
}

void CheckActivations(const Tensor& t) {
  TESSERA_CHECK(t.dtype == DType::kBFloat16, "activations on a GPU are bfloat16");
}

class DeviceOps final : public GpuOps {
 public:
  static Result<std::unique_ptr<GpuOps>> Create(GpuDevice* device, GpuStream* stream,
                                                const GpuOpsOptions& options) {
    std::unique_ptr<DeviceOps> ops(new DeviceOps(stream));
    TESSERA_ASSIGN_OR_RETURN(ops->kernels_, GpuKernels::Load(device));
    TESSERA_ASSIGN_OR_RETURN(ops->matmul_,
                             GpuMatmul::Create(device, stream, ops->kernels_.get(), options));
    TESSERA_ASSIGN_OR_RETURN(ops->sampler_,
                             GpuSampler::Create(device, stream, ops->kernels_.get()));
    return std::unique_ptr<GpuOps>(std::move(ops));
  }

  DType activation_dtype() const override { return DType::kBFloat16; }
  Stream& stream() override { return stream_; }

  Result<std::unique_ptr<LinearWeights>> Pack(std::span<const WeightSource> parts,
                                              MatmulMode) override {
    return matmul_->Pack(parts);
  }
  Result<std::unique_ptr<LinearWeights>> PackTable(const WeightSource& table) override {
    return matmul_->Pack({&table, 1});
  }
  void Linear(const LinearWeights& weights, const Tensor& x, const Tensor& y) override {
    matmul_->Multiply(static_cast<const GpuWeights&>(weights), x, y);
  }

  void Embed(const LinearWeights& table, const int32_t* ids, const Tensor& y) override {
    const auto& weights = static_cast<const GpuWeights&>(table);
    TESSERA_CHECK(y.cols == weights.cols && y.dtype == DType::kFloat32, "a residual of embeddings");
    GatherRows({.data = weights.values.data(),
                .dtype = weights.dtype,
                .rows = weights.rows,
                .cols = weights.cols,
                .stride = weights.stride},
               ids, y);
  }
  void Gather(const Tensor& x, const int32_t* rows, const Tensor& y) override {
    TESSERA_CHECK(x.cols == y.cols && x.dtype == y.dtype && x.dtype != DType::kFloat16,
                  "rows that are gathered keep their size and type");
    GatherRows(x, rows, y);
  }

  void Norm(const NormArgs& args) override {
    TESSERA_CHECK(args.x.dtype == DType::kFloat32, "a residual is float32");
    CheckActivations(args.y);
    TESSERA_CHECK(args.x.rows == args.y.rows && args.x.cols == args.y.cols, "shapes of a norm");
    bool aligned = HasAlignedRows(args.x) && HasAlignedRows(args.y) && IsAligned(args.weight, 16);
    if (args.add != nullptr) {
      CheckActivations(*args.add);
      TESSERA_CHECK(args.add->rows == args.x.rows && args.add->cols == args.x.cols,
                    "shapes of a residual");
      aligned = aligned && HasAlignedRows(*args.add);
    }
    const NormKernelArgs kernel_args = {
        .x = static_cast<float*>(args.x.data),
        .add = args.add == nullptr ? nullptr : static_cast<const uint16_t*>(args.add->data),
        .weight = args.weight,
        .y = static_cast<uint16_t*>(args.y.data),
        .x_stride = args.x.stride,
        .add_stride = args.add == nullptr ? 0 : args.add->stride,
        .y_stride = args.y.stride,
        .rows = args.x.rows,
        .cols = args.x.cols,
        .eps = args.eps,
        .aligned = aligned};
    if (args.x.cols <= kNormWaveCols) {
      const int64_t rows = kNormThreads / kernels_->norm_wave.shape.wave;
      LaunchKernel(stream_, kernels_->norm_wave, CeilDiv(args.x.rows, rows), kernel_args);
    } else {
      LaunchKernel(stream_, kernels_->norm_block, args.x.rows, kernel_args);
    }
  }

  void QkNormRope(const QkNormRopeArgs& args) override {
    CheckActivations(args.qkv);
    const KvCache* const cache = args.cache;
    QkNormRopeKernelArgs k = {.qkv = static_cast<uint16_t*>(args.qkv.data),
                              .stride = args.qkv.stride,
                              .tokens = args.qkv.rows,
                              .num_heads = args.num_heads,
                              .num_kv_heads = args.num_kv_heads,
                              .head_size = args.head_size,
                              .value_size = args.value_size,
                              .heads = args.num_heads + args.num_kv_heads,
                              .q_norm = args.q_norm,
                              .k_norm = args.k_norm,
                              .norm_eps = args.norm_eps,
                              .rotary_size = args.rope.rotary_size,
                              .cos = args.rope.cos,
                              .sin = args.rope.sin,
                              .positions = args.positions,
                              .slot_mapping = args.slot_mapping};
    if (cache != nullptr) {
      TESSERA_CHECK(cache->packing == KvPacking::kStandard && SizeOf(cache->dtype) > 1,
                    "a cache that only its backend writes");
      k.cache = cache->data;
      k.cache_dtype = static_cast<int32_t>(cache->dtype);
      k.block_size = cache->block_size;
      k.block_stride = cache->block_stride;
      k.head_stride = cache->head_stride;
      k.token_stride = cache->token_stride;
      k.v_offset = cache->v_offset;
      if (cache->v_offset != 0) k.heads += args.num_kv_heads;
    }
    k.pairs = IsAligned(args.qkv.data, 4) && args.qkv.stride % 2 == 0 && args.head_size % 2 == 0 &&
              args.value_size % 2 == 0 && args.rope.rotary_size % 4 == 0;
    const int64_t heads_per_block = kRopeThreads / kernels_->qk_norm_rope.shape.wave;
    LaunchKernel(stream_, kernels_->qk_norm_rope, CeilDiv(k.tokens * k.heads, heads_per_block), k);
  }

  void Activate(Activation, const Tensor& x, const Tensor& y) override {
    CheckActivations(x);
    CheckActivations(y);
    TESSERA_CHECK(x.rows == y.rows && x.cols == 2 * y.cols, "shapes of a gated activation");
    const int64_t parts = CeilDiv(y.cols, kRowPart);
    LaunchKernel(
        stream_, kernels_->activate, y.rows * parts,
        ActivateKernelArgs{.x = static_cast<const uint16_t*>(x.data),
                           .y = static_cast<uint16_t*>(y.data),
                           .x_stride = x.stride,
                           .y_stride = y.stride,
                           .cols = y.cols,
                           .parts = parts,
                           .aligned = HasAlignedRows(x) && HasAlignedRows(y) && y.cols % 8 == 0});
  }

  void LinearActivate(const LinearWeights& weights, Activation activation, const Tensor& x,
                      const Tensor& products, const Tensor& y) override {
    if (matmul_->MultiplyGated(static_cast<const GpuWeights&>(weights), x, y)) return;
    GpuOps::LinearActivate(weights, activation, x, products, y);
  }

  void ResolveIds(int32_t* ids, int64_t count, const int32_t* sampled) override {
    LaunchKernel(stream_, kernels_->resolve_ids, CeilDiv(count, kRowThreads),
                 ResolveIdsKernelArgs{.ids = ids, .sampled = sampled, .count = count});
  }

  Status Sample(const SamplingBatch& batch, const Tensor& logits, int32_t* token_ids) override {
    TESSERA_RETURN_IF_ERROR(PrepareSample(batch, logits.cols));
    LaunchSample(logits, token_ids);
    FetchSamples();
    return {};
  }
  Result<std::vector<Result<SampledToken>>> Sampled() override { return sampler_->Collect(); }

  Status PrepareSample(const SamplingBatch& batch, int64_t vocabulary) override {
    return sampler_->Prepare(batch, vocabulary);
  }
  void LaunchSample(const Tensor& logits, int32_t* token_ids) override {
    sampler_->Launch(logits, token_ids);
  }
  void FetchSamples() override { sampler_->Fetch(); }
  SampleKey sample_key() const override {
    const GpuSampler::Plan& plan = sampler_->plan();
    return {plan.rows, plan.edits, plan.logprobs, plan.top, sampler_->version()};
  }
  const std::string& library_reason() const override { return matmul_->library_reason(); }

 private:
  explicit DeviceOps(GpuStream* stream) : stream_(*stream) {}

  void GatherRows(const Tensor& x, const int32_t* ids, const Tensor& y) {
    const int64_t parts = CeilDiv(y.cols, kRowPart);
    LaunchKernel(stream_, kernels_->gather, y.rows * parts,
                 GatherKernelArgs{.x = x.data,
                                  .ids = ids,
                                  .y = y.data,
                                  .x_stride = x.stride,
                                  .y_stride = y.stride,
                                  .cols = y.cols,
                                  .parts = parts,
                                  .x_dtype = static_cast<int32_t>(x.dtype),
                                  .y_dtype = static_cast<int32_t>(y.dtype),
                                  .aligned = HasAlignedRows(x) && HasAlignedRows(y)});
  }

  GpuStream& stream_;
  std::unique_ptr<GpuKernels> kernels_;
  std::unique_ptr<GpuMatmul> matmul_;
  std::unique_ptr<GpuSampler> sampler_;
};

}  // namespace
}  // namespace ops_gpu

Result<std::unique_ptr<GpuOps>> CreateGpuOps(GpuDevice* device, GpuStream* stream,
                                             const GpuOpsOptions& options) {
  return ops_gpu::DeviceOps::Create(device, stream, options);
}

}  // namespace tessera
