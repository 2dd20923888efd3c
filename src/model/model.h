// A model: a checkpoint on a device, and its forward pass over one step's batch.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/config.h"
#include "tessera/attention_batch.h"
#include "tessera/backend.h"
#include "tessera/result.h"

namespace tessera {

class Ops;

// One layer's attention in one step: who computes it, with what plan, on which cache. Layers of one
// spec share a plan.
struct LayerAttention {
  Backend* backend = nullptr;
  const AttentionPlan* plan = nullptr;
  const AttentionSpec* spec = nullptr;
  KvCache cache;
};

struct ForwardBatch {
  std::span<const int32_t> token_ids;  // [num_tokens]
  std::span<const int32_t> positions;  // [num_tokens]
  AttentionBatch attention;
  std::span<const LayerAttention> layers;  // [num_layers]
  std::span<const int32_t> logit_rows;     // rows of the batch whose logits are wanted, ascending
};

struct ModelOptions {
  // Arithmetic and type of the KV cache: kFloat32, kBFloat16 or kFloat16.
  DType dtype = DType::kBFloat16;
  // 0: the checkpoint's own limit.
  int64_t max_model_len = 0;
  // Called from the loading thread with bytes done and bytes in all.
  std::function<void(int64_t, int64_t)> progress;
};

class Model {
 public:
  virtual ~Model() = default;

  virtual const ModelConfig& config() const = 0;

  // One per layer; layers that are alike have equal specs.
  virtual const std::vector<AttentionSpec>& layer_specs() const = 0;

  virtual int64_t weight_bytes() const = 0;

  // logits [logit_rows, vocab_size] float32. Writes the step's keys and values to the caches. One
  // call at a time.
  virtual Status Forward(const ForwardBatch& batch, float* logits) = 0;
};

// What each layer's attention will be, from DIR/config.json alone: layer_specs() of the model that
// LoadModel would make.
Result<std::vector<AttentionSpec>> LoadLayerSpecs(const std::string& directory, DType dtype);

// Reads DIR/config.json, picks the model family by its architecture, and loads the weights. `ops`
// outlives the model. Errors name the file and what to change.
Result<std::unique_ptr<Model>> LoadModel(const std::string& directory, Ops* ops,
                                         const ModelOptions& options);

}  // namespace tessera
