// config.json and generation_config.json of a Hugging Face checkpoint.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/dtype.h"
#include "tessera/result.h"

namespace tessera {

enum class RopeType : uint8_t { kDefault, kLinear, kDynamic, kLlama3, kYarn };

// Both forms are read: rope_theta + rope_scaling, and transformers 5's rope_parameters.
struct RopeConfig {
  RopeType type = RopeType::kDefault;
  double theta = 10000.0;
  double factor = 1.0;
  double partial_rotary_factor = 1.0;
  int64_t original_max_position_embeddings = 0;  // 0: max_position_embeddings
  double low_freq_factor = 1.0;                  // llama3
  double high_freq_factor = 4.0;                 // llama3
  double beta_fast = 32.0;                       // yarn
  double beta_slow = 1.0;                        // yarn
  double attention_factor = 0.0;                 // yarn; 0: from factor, mscale and mscale_all_dim
  double mscale = 0.0;                           // yarn
  double mscale_all_dim = 0.0;                   // yarn
  bool truncate = true;  // yarn: round the correction range to whole dimensions
};

// How generation_config.json wants tokens to be chosen; none: it does not say.
struct GenerationDefaults {
  std::optional<float> temperature;
  std::optional<float> top_p;
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  std::optional<int32_t> top_k;  // 0 or -1: off
};

struct ModelConfig {
  std::string architecture;  // "LlamaForCausalLM"
  std::string model_type;
  DType dtype = DType::kBFloat16;  // that the weights are said to have; the file decides
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int32_t num_layers = 0;
  int32_t num_heads = 0;
  int32_t num_kv_heads = 0;
  int32_t head_size = 0;
  int64_t max_position_embeddings = 0;
  int32_t sliding_window = 0;  // keys that a row sees, its own among them; 0: all
  float rms_norm_eps = 1e-6f;
  bool tie_word_embeddings = false;
  bool attention_bias = false;
  bool mlp_bias = false;
  std::string hidden_act = "silu";
  RopeConfig rope;
  std::vector<int32_t>
      eos_token_ids;          // ascending, of generation_config.json and config.json together
  int32_t bos_token_id = -1;  // -1: none
  GenerationDefaults generation;
};

// The architectures that ParseModelConfig takes, as "LlamaForCausalLM, MistralForCausalLM".
std::string SupportedArchitectures();

// Every number is checked for range and consistency before anything is sized by it. What the file
// asks for and no code here computes is refused, never ignored. Messages name the key; those of
// LoadModelConfig also the file. `generation_config_json` may be empty.
Result<ModelConfig> ParseModelConfig(std::string_view config_json,
                                     std::string_view generation_config_json = {});
Result<ModelConfig> LoadModelConfig(const std::string& directory);

}  // namespace tessera
