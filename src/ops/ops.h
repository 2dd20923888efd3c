// The operations of a model's forward pass other than attention: one set for each kind of device,
// bound to a stream. Plain views of the device's memory go in. Calls queue work and do not wait for
// it; what a device gets wrong stays in the stream. A set is used by one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ops/sampling.h"
#include "ops/tensor.h"
#include "ops/weight_source.h"
#include "tessera/device.h"
#include "tessera/dtype.h"
#include "tessera/kv_cache.h"
#include "tessera/result.h"
#include "tessera/thread_pool.h"

namespace tessera {

// y = x W^T + b with the weights where and as the device's matrix kernel wants them. Immutable.
class LinearWeights {
 public:
  virtual ~LinearWeights() = default;
  virtual int64_t in_features() const = 0;
  virtual int64_t out_features() const = 0;
  virtual int64_t bytes() const = 0;  // of device memory
};

// What arithmetic a linear layer uses.
enum class MatmulMode : uint8_t {
  kFloat32,   // float32 activations and sums, whatever the weights' type
  kBFloat16,  // activations may be rounded to bfloat16 if the machine multiplies those faster;
              // float32 sums
};

// y = x / sqrt(mean(x^2) + eps) * weight, row by row (arXiv 1910.07467).
struct NormArgs {
  Tensor x;                       // [rows, cols] float32: the residual
  const Tensor* add = nullptr;    // of the activations' type: x += add comes first and stays in x
  const float* weight = nullptr;  // [cols]
  float eps = 0;
  Tensor y;  // [rows, cols] of the activations' type; not x
};

// Rotary embedding, half-split as Hugging Face's Llama has it: pairs (i, i + rotary_size / 2).
struct RopeTable {
  const float* cos = nullptr;  // [max_positions, rotary_size / 2]
  const float* sin = nullptr;
  int64_t max_positions = 0;
  int32_t rotary_size = 0;  // <= head_size; the rest of a head passes unchanged; 0: nothing turns
};

// One pass over the queries, keys and values of a layer: per-head norms of queries and keys,
// rotation in place, and the write of keys and values to a plain cache. What it leaves in the cache
// is what Backend::WriteKv leaves there.
struct QkNormRopeArgs {
  // [tokens, (num_heads + num_kv_heads) * head_size + num_kv_heads * value_size] of the
  // activations' type: query heads, key heads, value heads side by side.
  Tensor qkv;
  int32_t num_heads = 0;
  int32_t num_kv_heads = 0;
  int32_t head_size = 0;
  int32_t value_size = 0;
  const float* q_norm = nullptr;  // [head_size] or null: none
  const float* k_norm = nullptr;  // likewise
  float norm_eps = 0;
  RopeTable rope = {};
  const int32_t* positions = nullptr;  // [tokens]
  // Of the standard layout and without scales; null: nothing is written.
  const KvCache* cache = nullptr;
  const int64_t* slot_mapping = nullptr;  // [tokens]; -1: nowhere
};

enum class Activation : uint8_t { kSilu };

class Ops {
 public:
  virtual ~Ops() = default;

  // Float32 on a CPU, bfloat16 on GPUs. The residual and the logits are float32 everywhere: each
  // layer's share of a residual is small beside it, and in bfloat16 much of it would be rounded
  // away (a model of 30 layers: logits three times as far from those of float32).
  virtual DType activation_dtype() const = 0;
  virtual Stream& stream() = 0;

  // Packs several matrices over the same input as one, their outputs side by side (q, k, v; gate,
  // up). The sources may be released afterwards. Fails if the shapes do not fit or memory runs out.
  virtual Result<std::unique_ptr<LinearWeights>> Pack(std::span<const WeightSource> parts,
                                                      MatmulMode mode) = 0;

  // A table that only Embed() reads: kept row by row.
  virtual Result<std::unique_ptr<LinearWeights>> PackTable(const WeightSource& table) = 0;

  // y[rows, out_features] = x[rows, in_features] W^T + b. x is of the activations' type, y of that
  // or float32.
  virtual void Linear(const LinearWeights& weights, const Tensor& x, const Tensor& y) = 0;

  // y[i] = row ids[i] of the table [vocabulary, hidden], of either kind of packing; y is float32.
  // Ids are in range: the host has checked them.
  virtual void Embed(const LinearWeights& table, const int32_t* ids, const Tensor& y) = 0;

  virtual void Norm(const NormArgs& args) = 0;
  virtual void QkNormRope(const QkNormRopeArgs& args) = 0;

  // y[i, j] = activation(x[i, j]) * x[i, n + j], x [rows, 2 n], y [rows, n].
  virtual void Activate(Activation activation, const Tensor& x, const Tensor& y) = 0;

  // Linear() and Activate() in one; `products` [rows, 2 n] is memory for what lies between them.
  virtual void LinearActivate(const LinearWeights& weights, Activation activation, const Tensor& x,
                              const Tensor& products, const Tensor& y) {
    Linear(weights, x, products);
    Activate(activation, products, y);
  }

  // y[i] = x[rows[i]].
  virtual void Gather(const Tensor& x, const int32_t* rows, const Tensor& y) = 0;

  // ids[i] = sampled[SampledBefore(ids[i])] for the ids below 0: tokens that Sample() has chosen
  // and the host does not know yet. All lies on the device.
  virtual void ResolveIds(int32_t* ids, int64_t count, const int32_t* sampled) = 0;

  // Chooses tokens, or computes log probabilities, for each row of float32 logits [rows,
  // vocabulary]. token_ids[i] (memory of the device, may be null) becomes row i's token, so that a
  // next step can read it before the host knows. `batch` is read before this returns; its lists may
  // be large. Fails if there is no memory for the step.
  virtual Status Sample(const SamplingBatch& batch, const Tensor& logits, int32_t* token_ids) = 0;

  // Waits for the oldest Sample() that it has not returned, of the latest two, and returns its
  // rows: a token each, or why there is none (an infinite logit, or nothing but NaN and -infinity).
  virtual Result<std::vector<Result<SampledToken>>> Sampled() = 0;
};

struct OpsOptions {
  // A row's result must not depend on what other rows there are, to the last bit. Costs time on
  // GPUs; a CPU's products are so in any case.
  bool batch_invariant = false;
};

// The operations of `device`, queued in `stream`. All three outlive them; `threads` computes on a
// CPU and prepares weights elsewhere.
Result<std::unique_ptr<Ops>> CreateOps(Device* device, Stream* stream, ThreadPool* threads,
                                       const OpsOptions& options = {});

}  // namespace tessera
