// A model: a checkpoint on a device, and its forward pass over one step's batch.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/config.h"
#include "ops/tensor.h"
#include "tessera/attention_batch.h"
#include "tessera/backend.h"
#include "tessera/result.h"

namespace tessera {

class Ops;

// One layer's attention in one step: who computes it, with what plan, on which cache. Layers of one
// spec share a plan.
struct LayerAttention {
  Backend* backend = nullptr;
  AttentionPlan* plan = nullptr;
  KvCache cache;
};

// Pointers are addresses of the device, `attention.host` aside. The host has checked ids,
// positions and rows.
struct ForwardBatch {
  const int32_t* token_ids = nullptr;  // [attention.num_tokens]
  const int32_t* positions = nullptr;  // [attention.num_tokens]
  AttentionBatch attention;
  std::span<const LayerAttention> layers;  // [num_layers]
  const int32_t* logit_rows = nullptr;     // [logits.rows]: rows of the batch, in any order
  Tensor logits;                           // [wanted rows, vocab_size] float32
};

struct ModelOptions {
  // Arithmetic and type of the KV cache: kFloat32, kBFloat16 or kFloat16.
  DType dtype = DType::kBFloat16;
  // 0: the checkpoint's own limit.
  int64_t max_model_len = 0;
  int64_t max_batch_tokens = 2048;  // of a step
  int64_t max_logit_rows = 2048;    // of a step
  // Called from the loading thread with bytes done and bytes in all.
  std::function<void(int64_t, int64_t)> progress = {};
};

class Model {
 public:
  virtual ~Model() = default;

  virtual const ModelConfig& config() const = 0;

  // One per layer; layers that are alike have equal specs.
  virtual const std::vector<AttentionSpec>& layer_specs() const = 0;

  virtual int64_t weight_bytes() const = 0;

  // Must precede a step with sequences of up to `max_seq_len` tokens, and is never captured in a
  // graph.
  virtual Status Prepare(int64_t max_seq_len) = 0;

  // Queues the forward pass in the stream of the model's operations: keys and values go to the
  // caches, logits to batch.logits. One call at a time. The Status says what the caller got wrong.
  virtual Status Forward(const ForwardBatch& batch) = 0;
};

// What each layer's attention will be, from DIR/config.json alone: layer_specs() of the model that
// LoadModel would make on operations with such activations.
Result<std::vector<AttentionSpec>> LoadLayerSpecs(const std::string& directory, DType cache_dtype,
                                                  DType activation_dtype);

// Reads DIR/config.json, picks the model family by its architecture, and loads the weights.
// `device` and `ops` outlive the model. Errors name the file and what to change.
Result<std::unique_ptr<Model>> LoadModel(const std::string& directory, Device* device, Ops* ops,
                                         const ModelOptions& options);

}  // namespace tessera
