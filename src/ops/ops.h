// The operations of a model's forward pass other than attention: one set per device.
//
// Plain views go in; activations are float32 on the CPU. A set is used by one thread at a time,
// which it helps with the device's own parallelism.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "tessera/dtype.h"
#include "tessera/result.h"

namespace tessera {

// Row-major [rows, cols]; stride = elements from one row to the next.
struct MatrixView {
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;
};

// A weight matrix as a checkpoint holds it: [out_features, in_features], contiguous.
struct WeightView {
  const void* data = nullptr;
  DType dtype = DType::kBFloat16;
  int64_t out_features = 0;
  int64_t in_features = 0;
};

// y = x W^T + b with the weights in the order that the device's matrix kernel wants. Immutable.
class PackedLinear {
 public:
  virtual ~PackedLinear() = default;
  virtual int64_t in_features() const = 0;
  virtual int64_t out_features() const = 0;
  virtual int64_t bytes() const = 0;  // of device memory
};

// What arithmetic a linear layer uses.
enum class MatmulMode : uint8_t {
  kFloat32,   // float32 activations and sums, whatever the weights' type
  kBFloat16,  // activations may be rounded to bfloat16 where the machine multiplies those faster;
              // float32 sums
};

// Rotary embedding, half-split as Hugging Face's Llama has it: pairs (i, i + rotary_size / 2).
struct RopeTable {
  const float* cos = nullptr;  // [max_positions, rotary_size / 2]
  const float* sin = nullptr;
  int64_t max_positions = 0;
  int32_t rotary_size = 0;  // <= head_size; the rest of a head passes unchanged
};

// Heads inside a row: head h of token t starts at data + t * token_stride + h * head_size.
struct HeadsView {
  float* data = nullptr;
  int64_t token_stride = 0;
  int32_t num_heads = 0;
  int32_t head_size = 0;
};

class Ops {
 public:
  virtual ~Ops() = default;

  // Packs several matrices over the same input as one, their outputs side by side (q, k, v; gate,
  // up). `biases` is empty or has an entry per matrix, possibly null: float32 [out_features]. The
  // sources may be released afterwards.
  virtual Result<std::unique_ptr<PackedLinear>> PackLinear(std::span<const WeightView> weights,
                                                           std::span<const float* const> biases,
                                                           MatmulMode mode) = 0;

  // y[rows, out_features] = x[rows, in_features] W^T + b.
  virtual void Linear(const PackedLinear& linear, const MatrixView& x, const MatrixView& y) = 0;

  // y[i] = row ids[i] of the table [vocabulary, hidden] (of any weight type), as float32. The
  // packed form of a tied output matrix serves as well: EmbedPacked.
  virtual void Embed(const WeightView& table, std::span<const int32_t> ids,
                     const MatrixView& y) = 0;
  virtual void EmbedPacked(const PackedLinear& table, std::span<const int32_t> ids,
                           const MatrixView& y) = 0;

  // y = x / sqrt(mean(x^2) + eps) * weight, row by row. x and y may be the same.
  virtual void RmsNorm(const MatrixView& x, const float* weight, float eps,
                       const MatrixView& y) = 0;

  // residual += x, y = RmsNorm(residual): one pass over memory.
  virtual void AddRmsNorm(const MatrixView& x, const MatrixView& residual, const float* weight,
                          float eps, const MatrixView& y) = 0;

  // x += y.
  virtual void Add(const MatrixView& x, const MatrixView& y) = 0;

  // y[i, j] = silu(x[i, j]) * x[i, n + j], x [rows, 2 n], y [rows, n].
  virtual void SiluMul(const MatrixView& x, const MatrixView& y) = 0;

  // Rotates queries and keys in place; positions [tokens].
  virtual void Rope(const RopeTable& table, std::span<const int32_t> positions,
                    const HeadsView& query, const HeadsView& key) = 0;
};

}  // namespace tessera
