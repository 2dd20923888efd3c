// Ops in the plainest form, for tests: one thread, float32 sums in order, nothing packed.
#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "ops/ops.h"

namespace tessera {

class SlowOps final : public Ops {
 public:
  explicit SlowOps(Stream* stream) : stream_(*stream) {}

  DType activation_dtype() const override { return DType::kFloat32; }
  Stream& stream() override { return stream_; }

  Result<std::unique_ptr<LinearWeights>> Pack(std::span<const WeightSource> parts,
                                              MatmulMode /*mode*/) override {
    auto packed = std::make_unique<Matrix>();
    packed->in = parts.front().cols;
    for (const WeightSource& part : parts) {
      for (int64_t row = 0; row < part.rows; ++row) {
        for (int64_t i = 0; i < part.cols; ++i) {
          packed->weight.push_back(LoadAsFloat(part.dtype, part.values, row * part.row_stride + i));
        }
        packed->bias.push_back(part.bias != nullptr ? part.bias[row] : 0.0f);
      }
      packed->out += part.rows;
    }
    return std::unique_ptr<LinearWeights>(std::move(packed));
  }

  Result<std::unique_ptr<LinearWeights>> PackTable(const WeightSource& table) override {
    return Pack({&table, 1}, MatmulMode::kFloat32);
  }

  void Linear(const LinearWeights& weights, const Tensor& x, const Tensor& y) override {
    const HostAccess access(stream_);
    const auto& matrix = static_cast<const Matrix&>(weights);
    for (int64_t r = 0; r < x.rows; ++r) {
      for (int64_t o = 0; o < matrix.out; ++o) {
        float sum = matrix.bias[static_cast<size_t>(o)];
        for (int64_t i = 0; i < matrix.in; ++i) {
          sum += Row(x, r)[i] * matrix.weight[static_cast<size_t>(o * matrix.in + i)];
        }
        Row(y, r)[o] = sum;
      }
    }
  }

  void Embed(const LinearWeights& table, const int32_t* ids, const Tensor& y) override {
    const HostAccess access(stream_);
    const auto& matrix = static_cast<const Matrix&>(table);
    for (int64_t r = 0; r < y.rows; ++r) {
      std::memcpy(Row(y, r), matrix.weight.data() + ids[r] * matrix.in,
                  static_cast<size_t>(matrix.in) * sizeof(float));
    }
  }

  void Norm(const NormArgs& args) override {
    const HostAccess access(stream_);
    for (int64_t r = 0; r < args.x.rows; ++r) {
      float* x = Row(args.x, r);
      float squares = 0;
      for (int64_t i = 0; i < args.x.cols; ++i) {
        if (args.add != nullptr) x[i] += Row(*args.add, r)[i];
        squares += x[i] * x[i];
      }
      const float scale = 1.0f / std::sqrt(squares / static_cast<float>(args.x.cols) + args.eps);
      for (int64_t i = 0; i < args.x.cols; ++i) Row(args.y, r)[i] = x[i] * scale * args.weight[i];
    }
  }

  void QkNormRope(const QkNormRopeArgs& args) override {
    const HostAccess access(stream_);
    TESSERA_CHECK(args.q_norm == nullptr && args.k_norm == nullptr, "no family here has these");
    const int64_t half = args.rope.rotary_size / 2;
    for (int64_t t = 0; t < args.qkv.rows; ++t) {
      float* head = Row(args.qkv, t);
      for (int32_t h = 0; h < args.num_heads + args.num_kv_heads; ++h, head += args.head_size) {
        for (int64_t i = 0; i < half; ++i) {
          const float cos = args.rope.cos[args.positions[t] * half + i];
          const float sin = args.rope.sin[args.positions[t] * half + i];
          const float a = head[i], b = head[i + half];
          head[i] = a * cos - b * sin;
          head[i + half] = b * cos + a * sin;
        }
      }
      if (args.cache == nullptr || args.slot_mapping[t] < 0) continue;
      const KvCache& cache = *args.cache;
      const int64_t block = args.slot_mapping[t] / cache.block_size;
      for (int32_t h = 0; h < args.num_kv_heads; ++h) {
        const float* key = head - (args.num_kv_heads - h) * args.head_size;
        const int64_t place = cache.KOffset(block, h, args.slot_mapping[t] % cache.block_size);
        for (int32_t i = 0; i < args.head_size; ++i) {
          StoreFromFloat(cache.dtype, cache.data, place + i, key[i]);
        }
        for (int32_t i = 0; i < args.value_size; ++i) {
          StoreFromFloat(cache.dtype, cache.data, place + cache.v_offset + i,
                         head[h * args.value_size + i]);
        }
      }
    }
  }

  void Activate(Activation /*activation*/, const Tensor& x, const Tensor& y) override {
    const HostAccess access(stream_);
    for (int64_t r = 0; r < y.rows; ++r) {
      for (int64_t i = 0; i < y.cols; ++i) {
        const float gate = Row(x, r)[i];
        Row(y, r)[i] = gate / (1.0f + std::exp(-gate)) * Row(x, r)[y.cols + i];
      }
    }
  }

  void Gather(const Tensor& x, const int32_t* rows, const Tensor& y) override {
    const HostAccess access(stream_);
    for (int64_t r = 0; r < y.rows; ++r) {
      std::memcpy(Row(y, r), Row(x, rows[r]), static_cast<size_t>(y.cols) * sizeof(float));
    }
  }

  void ResolveIds(int32_t* ids, int64_t count, const int32_t* sampled) override {
    const HostAccess access(stream_);
    for (int64_t i = 0; i < count; ++i) {
      if (ids[i] < 0) ids[i] = sampled[SampledBefore(ids[i])];
    }
  }

  Status Sample(const SamplingBatch& /*batch*/, const Tensor& /*logits*/,
                int32_t* /*token_ids*/) override {
    return Unsupported("these operations choose no tokens");
  }
  Result<std::vector<Result<SampledToken>>> Sampled() override {
    return Unsupported("these operations choose no tokens");
  }

 private:
  struct Matrix final : LinearWeights {
    int64_t in_features() const override { return in; }
    int64_t out_features() const override { return out; }
    int64_t bytes() const override {
      return static_cast<int64_t>((weight.size() + bias.size()) * sizeof(float));
    }
    int64_t in = 0, out = 0;
    std::vector<float> weight, bias;
  };

  static float* Row(const Tensor& matrix, int64_t row) {
    return static_cast<float*>(matrix.data) + row * matrix.stride;
  }

  Stream& stream_;
};

}  // namespace tessera
