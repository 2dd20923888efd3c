// Ops in the plainest form, for tests: one thread, float32 sums in order, nothing packed.
#pragma once

#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "ops/ops.h"

namespace tessera {

class SlowOps final : public Ops {
 public:
  Result<std::unique_ptr<PackedLinear>> PackLinear(std::span<const WeightView> weights,
                                                   std::span<const float* const> biases,
                                                   MatmulMode /*mode*/) override {
    auto packed = std::make_unique<Matrix>();
    packed->in = weights.front().in_features;
    for (size_t i = 0; i < weights.size(); ++i) {
      const WeightView& weight = weights[i];
      const int64_t old = packed->out;
      packed->out += weight.out_features;
      packed->weight.resize(static_cast<size_t>(packed->out * packed->in));
      packed->bias.resize(static_cast<size_t>(packed->out), 0.0f);
      ConvertToFloat(weight.dtype, weight.data, weight.out_features * packed->in,
                     packed->weight.data() + old * packed->in);
      if (i >= biases.size() || biases[i] == nullptr) continue;
      for (int64_t o = 0; o < weight.out_features; ++o) {
        packed->bias[static_cast<size_t>(old + o)] = biases[i][o];
      }
    }
    return std::unique_ptr<PackedLinear>(std::move(packed));
  }

  void Linear(const PackedLinear& linear, const MatrixView& x, const MatrixView& y) override {
    const auto& matrix = static_cast<const Matrix&>(linear);
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

  void Embed(const WeightView& table, std::span<const int32_t> ids, const MatrixView& y) override {
    for (size_t r = 0; r < ids.size(); ++r) {
      for (int64_t i = 0; i < table.in_features; ++i) {
        Row(y, static_cast<int64_t>(r))[i] =
            LoadAsFloat(table.dtype, table.data, ids[r] * table.in_features + i);
      }
    }
  }

  void EmbedPacked(const PackedLinear& table, std::span<const int32_t> ids,
                   const MatrixView& y) override {
    const auto& matrix = static_cast<const Matrix&>(table);
    Embed({matrix.weight.data(), DType::kFloat32, matrix.out, matrix.in}, ids, y);
  }

  void RmsNorm(const MatrixView& x, const float* weight, float eps, const MatrixView& y) override {
    for (int64_t r = 0; r < x.rows; ++r) {
      float sum = 0;
      for (int64_t i = 0; i < x.cols; ++i) sum += Row(x, r)[i] * Row(x, r)[i];
      const float scale = 1.0f / std::sqrt(sum / static_cast<float>(x.cols) + eps);
      for (int64_t i = 0; i < x.cols; ++i) Row(y, r)[i] = Row(x, r)[i] * scale * weight[i];
    }
  }

  void AddRmsNorm(const MatrixView& x, const MatrixView& residual, const float* weight, float eps,
                  const MatrixView& y) override {
    Add(residual, x);
    RmsNorm(residual, weight, eps, y);
  }

  void Add(const MatrixView& x, const MatrixView& y) override {
    for (int64_t r = 0; r < x.rows; ++r) {
      for (int64_t i = 0; i < x.cols; ++i) Row(x, r)[i] += Row(y, r)[i];
    }
  }

  void SiluMul(const MatrixView& x, const MatrixView& y) override {
    for (int64_t r = 0; r < y.rows; ++r) {
      for (int64_t i = 0; i < y.cols; ++i) {
        const float gate = Row(x, r)[i];
        Row(y, r)[i] = gate / (1.0f + std::exp(-gate)) * Row(x, r)[y.cols + i];
      }
    }
  }

  void Rope(const RopeTable& table, std::span<const int32_t> positions, const HeadsView& query,
            const HeadsView& key) override {
    const int32_t half = table.rotary_size / 2;
    for (const HeadsView& heads : {query, key}) {
      for (size_t t = 0; t < positions.size(); ++t) {
        for (int32_t h = 0; h < heads.num_heads; ++h) {
          float* head = heads.data + static_cast<int64_t>(t) * heads.token_stride +
                        int64_t{h} * heads.head_size;
          for (int32_t i = 0; i < half; ++i) {
            const float c = table.cos[int64_t{positions[t]} * half + i];
            const float s = table.sin[int64_t{positions[t]} * half + i];
            const float a = head[i], b = head[i + half];
            head[i] = a * c - b * s;
            head[i + half] = b * c + a * s;
          }
        }
      }
    }
  }

 private:
  struct Matrix final : PackedLinear {
    int64_t in = 0, out = 0;
    std::vector<float> weight;  // [out, in]
    std::vector<float> bias;    // [out]
    int64_t in_features() const override { return in; }
    int64_t out_features() const override { return out; }
    int64_t bytes() const override { return static_cast<int64_t>(weight.size() * sizeof(float)); }
  };

  static float* Row(const MatrixView& matrix, int64_t row) {
    return static_cast<float*>(matrix.data) + row * matrix.stride;
  }
};

}  // namespace tessera
