// The decoder: what a model family describes, and the one forward pass that computes it. Families
// say which tensors make which layer; nothing here knows a family's name.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "model/model.h"
#include "model/rope.h"
#include "ops/ops.h"
#include "tessera/device.h"

namespace tessera {

struct Norm {
  Buffer weight;  // float32 [size]
  float eps = 0;
  const float* data() const { return weight.As<float>(); }
};

struct MlpWeights {
  std::unique_ptr<LinearWeights> gate_up;  // hidden -> gate and up side by side
  std::unique_ptr<LinearWeights> down;
  Activation activation = Activation::kSilu;
};

struct DecoderLayer {
  AttentionSpec attention;
  std::unique_ptr<LinearWeights> qkv;     // hidden -> query, key and value heads side by side
  std::unique_ptr<LinearWeights> output;  // query heads' values -> hidden
  Norm before_attention;
  Norm before_mlp;
  std::optional<Norm> q_norm, k_norm;  // of each head, before rotation
  MlpWeights mlp;
};

struct Decoder {
  std::unique_ptr<LinearWeights> embedding;  // [vocabulary, hidden]; null: `head` serves
  std::vector<DecoderLayer> layers;
  Norm final_norm;
  std::unique_ptr<LinearWeights> head;  // hidden -> vocabulary
};

// The model that a description makes. `device` and `ops` outlive it; max_model_len > 0 was checked
// against the configuration. Fails if there is no memory for a step's activations.
Result<std::unique_ptr<Model>> MakeDecoderModel(const ModelConfig& config, Decoder decoder,
                                                Device* device, Ops* ops,
                                                const ModelOptions& options, int64_t max_model_len);

}  // namespace tessera
