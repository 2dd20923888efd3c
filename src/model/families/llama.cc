#include "model/families/llama.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>

namespace tessera {
namespace {

AttentionSpec MakeSpec(const ModelConfig& config, DType cache_dtype) {
  AttentionSpec spec;
  spec.num_heads = config.num_heads;
  spec.num_kv_heads = config.num_kv_heads;
  spec.head_size = config.head_size;
  spec.query_dtype = DType::kFloat32;
  spec.cache_dtype = cache_dtype;
  spec.output_dtype = DType::kFloat32;
  if (config.sliding_window > 0) spec.window_left = config.sliding_window - 1;
  return spec;
}

// float16 weights and sums have no faster form here than float32.
MatmulMode ModeOf(DType dtype) {
  return dtype == DType::kBFloat16 ? MatmulMode::kBFloat16 : MatmulMode::kFloat32;
}

float* RowOf(const MatrixView& matrix, int64_t row) {
  return static_cast<float*>(matrix.data) + row * matrix.stride;
}

void CopyRows(const MatrixView& from, std::span<const int32_t> rows, const MatrixView& to) {
  for (size_t i = 0; i < rows.size(); ++i) {
    std::memcpy(RowOf(to, static_cast<int64_t>(i)), RowOf(from, rows[i]),
                static_cast<size_t>(from.cols) * sizeof(float));
  }
}

}  // namespace

MatrixView LlamaModel::Buffer::Rows(int64_t rows, int64_t cols) {
  const auto size = static_cast<size_t>(rows * cols);
  if (data_.size() < size) data_.resize(size);
  return {data_.data(), DType::kFloat32, rows, cols, cols};
}

LlamaModel::LlamaModel(const ModelConfig& config, Checkpoint checkpoint, Ops* ops,
                       const ModelOptions& options, int64_t max_model_len)
    : config_(config),
      checkpoint_(std::move(checkpoint)),
      ops_(ops),
      specs_(LayerSpecs(config, options.dtype)),
      rope_(config, max_model_len) {}

std::vector<AttentionSpec> LlamaModel::LayerSpecs(const ModelConfig& config, DType dtype) {
  return std::vector<AttentionSpec>(static_cast<size_t>(config.num_layers),
                                    MakeSpec(config, dtype));
}

Result<std::unique_ptr<Model>> LlamaModel::Load(const ModelConfig& config, Checkpoint checkpoint,
                                                Ops* ops, const ModelOptions& options,
                                                int64_t max_model_len) {
  std::unique_ptr<LlamaModel> model(
      new LlamaModel(config, std::move(checkpoint), ops, options, max_model_len));
  WeightLoader loader(&model->checkpoint_, ops, ModeOf(options.dtype), options.progress);
  TESSERA_RETURN_IF_ERROR(model->LoadWeights(&loader));
  return std::unique_ptr<Model>(std::move(model));
}

Status LlamaModel::LoadWeights(WeightLoader* loader) {
  const std::string embedding = "model.embed_tokens";
  const WeightLoader::Part head = {config_.tie_word_embeddings ? embedding : "lm_head",
                                   config_.vocab_size};
  if (!config_.tie_word_embeddings) {
    TESSERA_ASSIGN_OR_RETURN(embedding_, loader->Matrix(embedding + ".weight", config_.vocab_size,
                                                        config_.hidden_size, &embedding_storage_));
  }
  layers_.reserve(static_cast<size_t>(config_.num_layers));
  for (int i = 0; i < config_.num_layers; ++i) {
    TESSERA_ASSIGN_OR_RETURN(Layer layer, LoadLayer(loader, i));
    layers_.push_back(std::move(layer));
  }
  TESSERA_ASSIGN_OR_RETURN(final_norm_, loader->Vector("model.norm.weight", config_.hidden_size));
  TESSERA_ASSIGN_OR_RETURN(lm_head_,
                           loader->Linear(std::array{head}, config_.hidden_size, /*bias=*/false));
  return {};
}

Result<LlamaModel::Layer> LlamaModel::LoadLayer(WeightLoader* loader, int index) const {
  using Part = WeightLoader::Part;
  const std::string prefix = "model.layers." + std::to_string(index) + ".";
  const std::string attention = prefix + "self_attn.";
  const std::string mlp = prefix + "mlp.";
  const int64_t hidden = config_.hidden_size;
  const int64_t inner = config_.intermediate_size;
  Layer layer;
  TESSERA_ASSIGN_OR_RETURN(layer.attention_norm,
                           loader->Vector(prefix + "input_layernorm.weight", hidden));
  TESSERA_ASSIGN_OR_RETURN(layer.qkv,
                           loader->Linear(std::array{Part{attention + "q_proj", query_size()},
                                                     Part{attention + "k_proj", kv_size()},
                                                     Part{attention + "v_proj", kv_size()}},
                                          hidden, config_.attention_bias));
  TESSERA_ASSIGN_OR_RETURN(
      layer.output, loader->Linear(std::array{Part{attention + "o_proj", hidden}}, query_size(),
                                   config_.attention_bias));
  TESSERA_ASSIGN_OR_RETURN(layer.mlp_norm,
                           loader->Vector(prefix + "post_attention_layernorm.weight", hidden));
  TESSERA_ASSIGN_OR_RETURN(layer.gate_up, loader->Linear(std::array{Part{mlp + "gate_proj", inner},
                                                                    Part{mlp + "up_proj", inner}},
                                                         hidden, config_.mlp_bias));
  TESSERA_ASSIGN_OR_RETURN(layer.down, loader->Linear(std::array{Part{mlp + "down_proj", hidden}},
                                                      inner, config_.mlp_bias));
  return layer;
}

int64_t LlamaModel::weight_bytes() const {
  const int64_t float_size = sizeof(float);
  int64_t sum = lm_head_->bytes() + config_.hidden_size * float_size;
  if (embedding_.data != nullptr) {
    sum +=
        config_.vocab_size * config_.hidden_size * static_cast<int64_t>(SizeOf(embedding_.dtype));
  }
  for (const Layer& layer : layers_) {
    sum += layer.qkv->bytes() + layer.output->bytes() + layer.gate_up->bytes() +
           layer.down->bytes() + 2 * config_.hidden_size * float_size;
  }
  return sum;
}

Status LlamaModel::CheckBatch(const ForwardBatch& batch) const {
  const size_t tokens = batch.token_ids.size();
  TESSERA_CHECK(batch.positions.size() == tokens, "a position for every token");
  TESSERA_CHECK(batch.attention.num_tokens == static_cast<int64_t>(tokens));
  TESSERA_CHECK(batch.layers.size() == layers_.size(), "attention for every layer");
  for (int32_t row : batch.logit_rows) {
    TESSERA_CHECK(row >= 0 && static_cast<size_t>(row) < tokens, "a logit row of the batch");
  }
  for (int32_t id : batch.token_ids) {
    if (id < 0 || id >= config_.vocab_size) {
      return InvalidArgument("the token id " + std::to_string(id) +
                             " is outside the model's vocabulary of " +
                             std::to_string(config_.vocab_size) + ".");
    }
  }
  for (int32_t position : batch.positions) {
    if (position < 0 || position >= rope_.max_model_len()) {
      return InvalidArgument("the position " + std::to_string(position) +
                             " is outside the longest sequence that was asked for, " +
                             std::to_string(rope_.max_model_len()) + " tokens.");
    }
  }
  return {};
}

void LlamaModel::Embed(std::span<const int32_t> ids, const MatrixView& y) {
  if (config_.tie_word_embeddings) {
    ops_->EmbedPacked(*lm_head_, ids, y);
  } else {
    ops_->Embed(embedding_, ids, y);
  }
}

void LlamaModel::Attend(const Layer& layer, const ForwardBatch& batch,
                        const LayerAttention& attention, const RopeTable& rope,
                        const MatrixView& hidden, const MatrixView& attended) {
  const int64_t head_size = config_.head_size;
  const int64_t row_size = query_size() + 2 * kv_size();
  const MatrixView qkv = qkv_.Rows(hidden.rows, row_size);
  ops_->Linear(*layer.qkv, hidden, qkv);

  float* query = static_cast<float*>(qkv.data);
  float* key = query + query_size();
  ops_->Rope(rope, batch.positions, {query, row_size, config_.num_heads, config_.head_size},
             {key, row_size, config_.num_kv_heads, config_.head_size});
  WriteKvArgs written;
  written.dtype = DType::kFloat32;
  written.key = key;
  written.key_token_stride = row_size;
  written.key_head_stride = head_size;
  written.value = key + kv_size();
  written.value_token_stride = row_size;
  written.value_head_stride = head_size;
  attention.backend->WriteKv(*attention.spec, batch.attention, written, attention.cache);
  if (attended.rows == 0) return;
  RunArgs args;
  args.query = query;
  args.query_token_stride = row_size;
  args.query_head_stride = head_size;
  args.output = attended.data;
  args.output_token_stride = attended.stride;
  args.output_head_stride = head_size;
  attention.backend->Run(*attention.plan, *attention.spec, batch.attention, attention.cache, args);
}

void LlamaModel::FeedForward(const Layer& layer, const MatrixView& attended,
                             const MatrixView& residual, const std::vector<float>& next_norm,
                             const MatrixView& hidden) {
  const int64_t rows = residual.rows;
  const float eps = config_.rms_norm_eps;
  const MatrixView delta = delta_.Rows(rows, config_.hidden_size);
  ops_->Linear(*layer.output, attended, delta);
  ops_->AddRmsNorm(delta, residual, layer.mlp_norm.data(), eps, hidden);
  const MatrixView gate_up = gate_up_.Rows(rows, 2 * config_.intermediate_size);
  const MatrixView activated = activated_.Rows(rows, config_.intermediate_size);
  ops_->Linear(*layer.gate_up, hidden, gate_up);
  ops_->SiluMul(gate_up, activated);
  ops_->Linear(*layer.down, activated, delta);
  ops_->AddRmsNorm(delta, residual, next_norm.data(), eps, hidden);
}

Status LlamaModel::Forward(const ForwardBatch& batch, float* logits) {
  TESSERA_RETURN_IF_ERROR(CheckBatch(batch));
  const auto tokens = static_cast<int64_t>(batch.token_ids.size());
  const auto wanted = static_cast<int64_t>(batch.logit_rows.size());
  if (tokens == 0) return {};
  const int64_t positions =
      int64_t{*std::max_element(batch.positions.begin(), batch.positions.end())} + 1;
  const RopeTable rope = rope_.Table(positions);

  const MatrixView residual = residual_.Rows(tokens, config_.hidden_size);
  MatrixView hidden = hidden_.Rows(tokens, config_.hidden_size);
  const MatrixView attended = attended_.Rows(tokens, query_size());
  Embed(batch.token_ids, residual);
  ops_->RmsNorm(residual, layers_[0].attention_norm.data(), config_.rms_norm_eps, hidden);
  for (size_t i = 0; i + 1 < layers_.size(); ++i) {
    Attend(layers_[i], batch, batch.layers[i], rope, hidden, attended);
    FeedForward(layers_[i], attended, residual, layers_[i + 1].attention_norm, hidden);
  }

  // Nobody reads the last layer's other rows, and without any wanted row not even its attention.
  const Layer& last = layers_.back();
  const MatrixView last_attended = attended_.Rows(wanted > 0 ? tokens : 0, query_size());
  Attend(last, batch, batch.layers.back(), rope, hidden, last_attended);
  if (wanted == 0) return {};
  const MatrixView wanted_attended = last_attended_.Rows(wanted, query_size());
  const MatrixView wanted_residual = last_residual_.Rows(wanted, config_.hidden_size);
  CopyRows(attended, batch.logit_rows, wanted_attended);
  CopyRows(residual, batch.logit_rows, wanted_residual);
  hidden = hidden_.Rows(wanted, config_.hidden_size);
  FeedForward(last, wanted_attended, wanted_residual, final_norm_, hidden);
  ops_->Linear(*lm_head_, hidden,
               {logits, DType::kFloat32, wanted, config_.vocab_size, config_.vocab_size});
  return {};
}

}  // namespace tessera
