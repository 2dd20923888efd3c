// The Llama family: pre-norm decoder layers with rotary embedding, grouped-query attention and a
// gated SiLU feed-forward network (arXiv 2302.13971, 2407.21783; Mistral 2310.06825 adds a sliding
// window).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/model.h"
#include "model/rope.h"
#include "model/safetensors.h"
#include "model/weights.h"
#include "ops/ops.h"

namespace tessera {

class LlamaModel final : public Model {
 public:
  // `ops` outlives the model. `max_model_len` > 0 was checked against the configuration.
  static Result<std::unique_ptr<Model>> Load(const ModelConfig& config, Checkpoint checkpoint,
                                             Ops* ops, const ModelOptions& options,
                                             int64_t max_model_len);

  static std::vector<AttentionSpec> LayerSpecs(const ModelConfig& config, DType dtype);

  const ModelConfig& config() const override { return config_; }
  const std::vector<AttentionSpec>& layer_specs() const override { return specs_; }
  int64_t weight_bytes() const override;
  Status Forward(const ForwardBatch& batch, float* logits) override;

 private:
  struct Layer {
    std::vector<float> attention_norm;     // [hidden]
    std::unique_ptr<PackedLinear> qkv;     // hidden -> q, k, v heads side by side
    std::unique_ptr<PackedLinear> output;  // q heads -> hidden
    std::vector<float> mlp_norm;           // [hidden]
    std::unique_ptr<PackedLinear> gate_up;
    std::unique_ptr<PackedLinear> down;
  };

  // Float32 [rows, cols] that keeps the memory of the largest step so far.
  class Buffer {
   public:
    MatrixView Rows(int64_t rows, int64_t cols);

   private:
    std::vector<float> data_;
  };

  LlamaModel(const ModelConfig& config, Checkpoint checkpoint, Ops* ops,
             const ModelOptions& options, int64_t max_model_len);

  Status LoadWeights(WeightLoader* loader);
  Result<Layer> LoadLayer(WeightLoader* loader, int index) const;
  Status CheckBatch(const ForwardBatch& batch) const;

  void Embed(std::span<const int32_t> ids, const MatrixView& y);
  // Attention of one layer: hidden [tokens, hidden] -> attended [tokens, q heads].
  void Attend(const Layer& layer, const ForwardBatch& batch, const LayerAttention& attention,
              const RopeTable& rope, const MatrixView& hidden, const MatrixView& attended);
  // What follows attention in a layer, up to the norm that comes next: `residual` and `hidden` are
  // updated.
  void FeedForward(const Layer& layer, const MatrixView& attended, const MatrixView& residual,
                   const std::vector<float>& next_norm, const MatrixView& hidden);

  int64_t query_size() const { return int64_t{config_.num_heads} * config_.head_size; }
  int64_t kv_size() const { return int64_t{config_.num_kv_heads} * config_.head_size; }

  ModelConfig config_;
  Checkpoint checkpoint_;  // holds the embedding table's map
  Ops* ops_;
  std::vector<AttentionSpec> specs_;
  RopeCache rope_;

  WeightView embedding_;                      // unless tied: [vocab, hidden]
  std::vector<std::byte> embedding_storage_;  // where the map is not aligned
  std::vector<Layer> layers_;
  std::vector<float> final_norm_;
  std::unique_ptr<PackedLinear> lm_head_;  // tied: the embedding table as well

  Buffer residual_, hidden_, delta_, qkv_, attended_, gate_up_, activated_;
  Buffer last_residual_, last_attended_;  // the rows whose logits are wanted
};

}  // namespace tessera
