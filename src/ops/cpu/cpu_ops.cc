#include "ops/cpu/cpu_ops.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <utility>

#include "base/memory.h"
#include "ops/cpu/gemm.h"
#include "ops/cpu/packed_matrix.h"
#include "ops/cpu/sampler.h"
#include "ops/cpu/vector_ops.h"

namespace tessera {
namespace {

// Elements of a piece of work that is worth a thread.
constexpr int64_t kMinElements = 8192;

float* Row(const Tensor& matrix, int64_t row) {
  return static_cast<float*>(matrix.data) + row * matrix.stride;
}

void CheckFloat(const Tensor& matrix) {
  TESSERA_CHECK(matrix.dtype == DType::kFloat32, "activations on a CPU are float32");
}

void CheckSameShape(const Tensor& x, const Tensor& y) {
  CheckFloat(x);
  CheckFloat(y);
  TESSERA_CHECK(x.rows == y.rows && x.cols == y.cols, "matrices of different shapes");
}

// x / sqrt(mean(x^2) + eps) * weight, in place.
void NormHead(const float* weight, float eps, int32_t size, float* head) {
  NormRows({head, size, nullptr, 0, weight, eps, head, size, size}, 0, 1);
}

class CpuOps final : public Ops {
 public:
  CpuOps(Device* device, Stream* stream, ThreadPool* threads, const CpuOpsOptions& options)
      : device_(*device),
        stream_(*stream),
        threads_(*threads),
        bfloat16_(options.native_bfloat16 ? BFloat16Kernels() : GemmKernels()),
        samplers_(static_cast<size_t>(threads->num_threads())) {}

  DType activation_dtype() const override { return DType::kFloat32; }
  Stream& stream() override { return stream_; }

  Result<std::unique_ptr<LinearWeights>> Pack(std::span<const WeightSource> parts,
                                              MatmulMode mode) override {
    const HostAccess access(stream_);
    TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<PackedMatrix> packed,
                             PackedMatrix::Pack(parts, mode, device_, threads_));
    return std::unique_ptr<LinearWeights>(std::move(packed));
  }

  Result<std::unique_ptr<LinearWeights>> PackTable(const WeightSource& table) override {
    const HostAccess access(stream_);
    TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<CpuWeights> packed, MakeRowTable(table, device_));
    return std::unique_ptr<LinearWeights>(std::move(packed));
  }

  void Linear(const LinearWeights& linear, const Tensor& x, const Tensor& y) override {
    const HostAccess access(stream_);
    const auto& weights = static_cast<const PackedMatrix&>(linear);
    CheckFloat(x);
    CheckFloat(y);
    TESSERA_CHECK(
        x.rows == y.rows && x.cols == weights.in_features() && y.cols == weights.out_features(),
        "shapes of a linear layer");
    const bool native = bfloat16_.run != nullptr && weights.mode() == MatmulMode::kBFloat16 &&
                        weights.dtype() == DType::kBFloat16;
    Gemm(weights, native ? bfloat16_ : Float32Kernels(weights.dtype()), x, y, threads_, scratch_);
  }

  void Embed(const LinearWeights& table, const int32_t* ids, const Tensor& y) override {
    const HostAccess access(stream_);
    CheckFloat(y);
    const auto& weights = static_cast<const CpuWeights&>(table);
    ForRows(y.rows, y.cols, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) weights.ReadRow(ids[i], Row(y, i));
    });
  }

  void Norm(const NormArgs& args) override {
    const HostAccess access(stream_);
    CheckSameShape(args.x, args.y);
    NormRowsArgs rows{Row(args.x, 0), args.x.stride,  nullptr,       0,          args.weight,
                      args.eps,       Row(args.y, 0), args.y.stride, args.x.cols};
    if (args.add != nullptr) {
      CheckSameShape(args.x, *args.add);
      rows.added = Row(*args.add, 0);
      rows.added_stride = args.add->stride;
    }
    ForRows(args.x.rows, args.x.cols,
            [&](int64_t begin, int64_t end) { NormRows(rows, begin, end); });
  }

  void QkNormRope(const QkNormRopeArgs& args) override {
    const HostAccess access(stream_);
    CheckFloat(args.qkv);
    ForRows(args.qkv.rows, args.qkv.cols, [&](int64_t begin, int64_t end) {
      for (int64_t token = begin; token < end; ++token) QkNormRopeRow(args, token);
    });
  }

  void Activate(Activation activation, const Tensor& x, const Tensor& y) override {
    const HostAccess access(stream_);
    CheckFloat(x);
    CheckFloat(y);
    TESSERA_CHECK(activation == Activation::kSilu && x.rows == y.rows && x.cols == 2 * y.cols,
                  "shapes of a gated activation");
    // The exponential makes an element worth about eight others.
    ForRows(x.rows, 8 * y.cols, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        SiluMulRow(Row(x, row), Row(x, row) + y.cols, y.cols, Row(y, row));
      }
    });
  }

  void Gather(const Tensor& x, const int32_t* rows, const Tensor& y) override {
    const HostAccess access(stream_);
    CheckFloat(x);
    CheckFloat(y);
    ForRows(y.rows, y.cols, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        std::memcpy(Row(y, i), Row(x, rows[i]), static_cast<size_t>(y.cols) * sizeof(float));
      }
    });
  }

  void ResolveIds(int32_t* ids, int64_t count, const int32_t* sampled) override {
    const HostAccess access(stream_);
    for (int64_t i = 0; i < count; ++i) {
      if (ids[i] < 0) ids[i] = sampled[SampledBefore(ids[i])];
    }
  }

  Status Sample(const SamplingBatch& batch, const Tensor& logits, int32_t* token_ids) override {
    const HostAccess access(stream_);
    CheckFloat(logits);
    TESSERA_CHECK(static_cast<size_t>(logits.rows) == batch.rows.size(), "a row for all logits");
    std::vector<std::optional<Result<SampledToken>>> sampled(batch.rows.size());
    // Rows are cheap next to waking threads if the vocabulary is small.
    ForRows(logits.rows, logits.cols / 8, [&](int64_t begin, int64_t end, int worker) {
      for (int64_t i = begin; i < end; ++i) {
        const SampleRow& row = batch.rows[static_cast<size_t>(i)];
        const std::span<const float> values(Row(logits, i), static_cast<size_t>(logits.cols));
        sampled[static_cast<size_t>(i)] =
            row.given_token >= 0
                ? Logprobs(values, row.given_token, row.logprobs)
                : samplers_[static_cast<size_t>(worker)].Sample(values, row, batch);
      }
    });
    std::vector<Result<SampledToken>> tokens;
    tokens.reserve(sampled.size());
    for (size_t i = 0; i < sampled.size(); ++i) {
      Result<SampledToken>& token = *sampled[i];
      if (token_ids != nullptr) token_ids[i] = token.ok() ? token->token : 0;
      tokens.push_back(std::move(token));
    }
    if (sampled_.size() == 2) sampled_.pop_front();
    sampled_.push_back(std::move(tokens));
    return {};
  }

  Result<std::vector<Result<SampledToken>>> Sampled() override {
    TESSERA_CHECK(!sampled_.empty(), "no sampling is under way");
    std::vector<Result<SampledToken>> tokens = std::move(sampled_.front());
    sampled_.pop_front();
    return tokens;
  }

 private:
  static void QkNormRopeRow(const QkNormRopeArgs& args, int64_t token) {
    const RopeTable& rope = args.rope;
    const int64_t half = rope.rotary_size / 2;
    const int64_t position = half > 0 ? args.positions[token] : 0;
    TESSERA_CHECK(half == 0 || (position >= 0 && position < rope.max_positions),
                  "position outside of the rotary table");
    float* head = Row(args.qkv, token);
    for (int32_t h = 0; h < args.num_heads + args.num_kv_heads; ++h, head += args.head_size) {
      const float* const norm = h < args.num_heads ? args.q_norm : args.k_norm;
      if (norm != nullptr) NormHead(norm, args.norm_eps, args.head_size, head);
      if (half == 0) continue;
      RotateHead(rope.cos + position * half, rope.sin + position * half, half, head);
    }
    if (args.cache == nullptr || args.slot_mapping[token] < 0) return;
    WriteCache(args, args.slot_mapping[token], head);
  }

  // `values`: the token's values, after its keys.
  static void WriteCache(const QkNormRopeArgs& args, int64_t slot, const float* values) {
    const KvCache& cache = *args.cache;
    const float* keys = values - int64_t{args.num_kv_heads} * args.head_size;
    const auto element = static_cast<int64_t>(SizeOf(cache.dtype));
    for (int32_t h = 0; h < args.num_kv_heads; ++h) {
      char* const place =
          static_cast<char*>(cache.data) +
          cache.KOffset(slot / cache.block_size, h, slot % cache.block_size) * element;
      ConvertFromFloat(cache.dtype, keys + h * args.head_size, args.head_size, place);
      if (cache.v_offset == 0) continue;
      ConvertFromFloat(cache.dtype, values + h * args.value_size, args.value_size,
                       place + cache.v_offset * element);
    }
  }

  // function(begin, end) or function(begin, end, worker) for ranges of rows, on several threads if
  // there is work enough.
  template <typename Function>
  void ForRows(int64_t rows, int64_t elements_per_row, const Function& function) {
    const int64_t most = int64_t{4} * threads_.num_threads();
    const int64_t pieces =
        std::min({rows, most, std::max<int64_t>(1, rows * elements_per_row / kMinElements)});
    threads_.ParallelFor(pieces, [&](int64_t piece, int worker) {
      const int64_t begin = piece * rows / pieces, end = (piece + 1) * rows / pieces;
      if constexpr (std::is_invocable_v<Function, int64_t, int64_t, int>) {
        function(begin, end, worker);
      } else {
        function(begin, end);
      }
    });
  }

  Device& device_;
  Stream& stream_;
  ThreadPool& threads_;
  const GemmKernels bfloat16_;
  AlignedBuffer scratch_;
  std::vector<Sampler> samplers_;                          // [workers]
  std::deque<std::vector<Result<SampledToken>>> sampled_;  // not returned: two at most
};

}  // namespace

std::unique_ptr<Ops> CreateCpuOps(Device* device, Stream* stream, ThreadPool* threads,
                                  const CpuOpsOptions& options) {
  return std::make_unique<CpuOps>(device, stream, threads, options);
}

}  // namespace tessera
