#include <array>
#include <string>

#include "model/families/families.h"

namespace tessera {
namespace {

using Part = WeightLoader::Part;

Result<DecoderLayer> DescribeLayer(const ModelConfig& config, const AttentionSpec& spec, int index,
                                   WeightLoader& loader) {
  const std::string prefix = "model.layers." + std::to_string(index) + ".";
  const std::string attention = prefix + "self_attn.";
  const std::string mlp = prefix + "mlp.";
  const int64_t hidden = config.hidden_size;
  const int64_t inner = config.intermediate_size;
  const int64_t query_size = int64_t{config.num_heads} * config.head_size;
  const int64_t kv_size = int64_t{config.num_kv_heads} * config.head_size;
  DecoderLayer layer;
  layer.attention = spec;
  TESSERA_ASSIGN_OR_RETURN(layer.before_attention.weight,
                           loader.Vector(prefix + "input_layernorm.weight", hidden));
  TESSERA_ASSIGN_OR_RETURN(layer.qkv,
                           loader.Linear(std::array{Part{attention + "q_proj", query_size},
                                                    Part{attention + "k_proj", kv_size},
                                                    Part{attention + "v_proj", kv_size}},
                                         hidden, config.attention_bias));
  TESSERA_ASSIGN_OR_RETURN(layer.output,
                           loader.Linear(std::array{Part{attention + "o_proj", hidden}}, query_size,
                                         config.attention_bias));
  TESSERA_ASSIGN_OR_RETURN(layer.before_mlp.weight,
                           loader.Vector(prefix + "post_attention_layernorm.weight", hidden));
  TESSERA_ASSIGN_OR_RETURN(
      layer.mlp.gate_up,
      loader.Linear(std::array{Part{mlp + "gate_proj", inner}, Part{mlp + "up_proj", inner}},
                    hidden, config.mlp_bias));
  TESSERA_ASSIGN_OR_RETURN(
      layer.mlp.down,
      loader.Linear(std::array{Part{mlp + "down_proj", hidden}}, inner, config.mlp_bias));
  layer.before_attention.eps = layer.before_mlp.eps = config.rms_norm_eps;
  return layer;
}

}  // namespace

std::vector<AttentionSpec> LlamaLayerSpecs(const ModelConfig& config, DType cache_dtype,
                                           DType activation_dtype) {
  AttentionSpec spec;
  spec.num_heads = config.num_heads;
  spec.num_kv_heads = config.num_kv_heads;
  spec.head_size = config.head_size;
  spec.query_dtype = activation_dtype;
  spec.cache_dtype = cache_dtype;
  spec.output_dtype = activation_dtype;
  if (config.sliding_window > 0) spec.window_left = config.sliding_window - 1;
  return std::vector<AttentionSpec>(static_cast<size_t>(config.num_layers), spec);
}

Result<Decoder> DescribeLlama(const ModelConfig& config, const std::vector<AttentionSpec>& specs,
                              WeightLoader& loader) {
  const std::string embedding = "model.embed_tokens";
  const bool tied = config.tie_word_embeddings;
  Decoder decoder;
  if (!tied) {
    TESSERA_ASSIGN_OR_RETURN(
        decoder.embedding,
        loader.Table(embedding + ".weight", config.vocab_size, config.hidden_size));
  }
  for (int i = 0; i < config.num_layers; ++i) {
    TESSERA_ASSIGN_OR_RETURN(DecoderLayer layer,
                             DescribeLayer(config, specs[static_cast<size_t>(i)], i, loader));
    decoder.layers.push_back(std::move(layer));
  }
  TESSERA_ASSIGN_OR_RETURN(decoder.final_norm.weight,
                           loader.Vector("model.norm.weight", config.hidden_size));
  decoder.final_norm.eps = config.rms_norm_eps;
  TESSERA_ASSIGN_OR_RETURN(
      decoder.head, loader.Linear(std::array{Part{tied ? embedding : "lm_head", config.vocab_size}},
                                  config.hidden_size, /*bias=*/false));
  return decoder;
}

}  // namespace tessera
