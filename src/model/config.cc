#include "model/config.h"

#include <simdjson.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <utility>

#include "model/families/families.h"
#include "model/json_reader.h"
#include "model/rope_config.h"

namespace tessera {
namespace {

constexpr int64_t kMaxInt32 = std::numeric_limits<int32_t>::max();

// Keys that change what a model computes, and that nothing here computes yet.
constexpr std::pair<const char*, const char*> kRefusedKeys[] = {
    {"quantization_config", "quantised weights are not read; give a checkpoint in bfloat16"},
    {"attn_logit_softcapping", "soft-capped attention belongs to another model family"},
    {"final_logit_softcapping", "soft-capped logits belong to another model family"},
    {"embedding_multiplier", "scaled embeddings belong to another model family"},
    {"residual_multiplier", "scaled residuals belong to another model family"},
    {"attention_multiplier", "another scale of attention belongs to another model family"},
    {"logits_scaling", "scaled logits belong to another model family"},
    {"num_local_experts", "mixtures of experts are not supported"},
    {"num_experts", "mixtures of experts are not supported"},
};

// Reads numbers into the configuration; keeps the first error, so that a list of fields reads as a
// list.
class Fields {
 public:
  explicit Fields(const JsonReader& json) : json_(json) {}

  template <typename T>
  Fields& Required(const char* key, int64_t low, int64_t high, T* target) {
    if (status_.ok() && !json_.Has(key)) {
      status_ = InvalidArgument(std::string("lacks \"") + key +
                                "\": give the config.json that belongs to the checkpoint.");
    }
    return Optional(key, low, high, target);
  }

  template <typename T>
  Fields& Optional(const char* key, int64_t low, int64_t high, T* target) {
    Take(json_.Integer(key, low, high), target);
    return *this;
  }

  Fields& Optional(const char* key, double low, double high, float* target) {
    Take(json_.Number(key, low, high), target);
    return *this;
  }

  Fields& Optional(const char* key, double low, double high, std::optional<float>* target) {
    Take(json_.Number(key, low, high), target);
    return *this;
  }

  Fields& Optional(const char* key, bool* target) {
    Take(json_.Boolean(key), target);
    return *this;
  }

  Fields& Optional(const char* key, std::string* target) {
    Take(json_.String(key), target);
    return *this;
  }

  Status status() const { return status_; }

 private:
  template <typename T, typename U>
  void Take(Result<std::optional<T>> value, U* target) {
    if (!status_.ok()) return;
    if (!value.ok()) {
      status_ = value.error();
      return;
    }
    const std::optional<T>& present = *value;
    if (present) *target = static_cast<U>(*present);
  }

  const JsonReader& json_;
  Status status_;
};

Result<const Family*> ReadFamily(const JsonReader& json) {
  std::string_view name;
  if (json.object()["architectures"].at(0).get(name)) {
    return InvalidArgument(
        "lacks \"architectures\", the list that names the model's family, of which these are "
        "supported: " +
        SupportedArchitectures() + ".");
  }
  if (const Family* family = FindFamily(name)) return family;
  return Unsupported("asks for the architecture \"" + std::string(name.substr(0, 80)) +
                     "\", which is not supported; supported are " + SupportedArchitectures() + ".");
}

// eos_token_id: a number or a list of numbers.
Status AddEosTokens(const JsonReader& json, std::vector<int32_t>* ids) {
  simdjson::dom::element value;
  if (!json.Has("eos_token_id") || json.object()["eos_token_id"].get(value)) return {};
  const auto add = [&](simdjson::dom::element element) {
    int64_t id = -1;
    if (element.get(id) || id < 0 || id > kMaxInt32) return false;
    ids->push_back(static_cast<int32_t>(id));
    return true;
  };
  simdjson::dom::array list;
  bool good = true;
  if (!value.get(list)) {
    for (simdjson::dom::element element : list) good = good && add(element);
  } else {
    good = add(value);
  }
  if (!good) return InvalidArgument("\"eos_token_id\" must be a token id or a list of token ids.");
  std::sort(ids->begin(), ids->end());
  ids->erase(std::unique(ids->begin(), ids->end()), ids->end());
  return {};
}

Status CheckLayerTypes(const JsonReader& json, bool sliding) {
  simdjson::dom::array list;
  if (!json.Has("layer_types")) return {};
  if (json.object()["layer_types"].get(list)) {
    return InvalidArgument("\"layer_types\" must be a list.");
  }
  const std::string_view wanted = sliding ? "sliding_attention" : "full_attention";
  for (simdjson::dom::element element : list) {
    std::string_view type;
    if (element.get(type) || type != wanted) {
      return Unsupported("has layers of several kinds in \"layer_types\", where only \"" +
                         std::string(wanted) + "\" is supported for this architecture.");
    }
  }
  return {};
}

// "dtype", or "torch_dtype" as older files have it.
Status ReadDType(const JsonReader& json, DType* dtype) {
  for (const char* key : {"dtype", "torch_dtype"}) {
    TESSERA_ASSIGN_OR_RETURN(std::optional<std::string> name, json.String(key));
    if (!name) continue;
    if (name->rfind("torch.", 0) == 0) name->erase(0, 6);
    for (DType type : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
      if (*name == ToString(type)) {
        *dtype = type;
        return {};
      }
    }
    return Unsupported(std::string("\"") + key + "\" is \"" + name->substr(0, 40) +
                       "\"; weights of float32, float16 and bfloat16 are supported.");
  }
  return {};
}

Status CheckConsistency(const ModelConfig& config) {
  if (config.num_heads % config.num_kv_heads != 0) {
    return InvalidArgument("\"num_attention_heads\" (" + std::to_string(config.num_heads) +
                           ") is not a multiple of \"num_key_value_heads\" (" +
                           std::to_string(config.num_kv_heads) + ").");
  }
  if (config.head_size % 2 != 0) {
    return InvalidArgument("the head size " + std::to_string(config.head_size) +
                           " is odd, and rotary embedding turns pairs.");
  }
  if (config.hidden_act != "silu") {
    return Unsupported("\"hidden_act\" is \"" + config.hidden_act.substr(0, 40) +
                       "\"; only \"silu\" is supported.");
  }
  return {};
}

Status MergeGenerationConfig(std::string_view text, ModelConfig* config) {
  simdjson::dom::parser parser;
  TESSERA_ASSIGN_OR_RETURN(const simdjson::dom::object object, ParseJsonObject(&parser, text));
  const JsonReader json(object);
  TESSERA_RETURN_IF_ERROR(AddEosTokens(json, &config->eos_token_ids));
  GenerationDefaults& generation = config->generation;
  return Fields(json)
      .Optional("temperature", 0.0, 1e6, &generation.temperature)
      .Optional("top_p", 1e-6, 1.0, &generation.top_p)
      .Optional("min_p", 0.0, 1.0, &generation.min_p)
      .Optional("repetition_penalty", 0.001, 1000.0, &generation.repetition_penalty)
      .Optional("top_k", -1, kMaxInt32, &generation.top_k)
      .status();
}

Result<ModelConfig> ParseConfig(std::string_view text) {
  simdjson::dom::parser parser;
  TESSERA_ASSIGN_OR_RETURN(const simdjson::dom::object object, ParseJsonObject(&parser, text));
  const JsonReader json(object);
  TESSERA_ASSIGN_OR_RETURN(const Family* family, ReadFamily(json));
  for (const auto& [key, reason] : kRefusedKeys) {
    if (json.Has(key)) {
      return Unsupported(std::string("sets \"") + key + "\", which is not supported for " +
                         family->architecture + ": " + reason + ".");
    }
  }

  ModelConfig config;
  config.architecture = family->architecture;
  Fields fields(json);
  fields.Optional("model_type", &config.model_type)
      .Required("vocab_size", 1, 1 << 24, &config.vocab_size)
      .Required("hidden_size", 1, 1 << 20, &config.hidden_size)
      .Required("intermediate_size", 1, 1 << 22, &config.intermediate_size)
      .Required("num_hidden_layers", 1, 4096, &config.num_layers)
      .Required("num_attention_heads", 1, 4096, &config.num_heads)
      .Optional("num_key_value_heads", 1, 4096, &config.num_kv_heads)
      .Optional("head_dim", 2, 4096, &config.head_size)
      .Required("max_position_embeddings", 1, 1 << 30, &config.max_position_embeddings)
      .Optional("rms_norm_eps", 0.0, 1.0, &config.rms_norm_eps)
      .Optional("tie_word_embeddings", &config.tie_word_embeddings)
      .Optional("hidden_act", &config.hidden_act)
      .Optional("bos_token_id", -1, kMaxInt32, &config.bos_token_id)
      .Optional("sliding_window", 1, kMaxInt32, &config.sliding_window)
      .Optional("attention_bias", &config.attention_bias)
      .Optional("mlp_bias", &config.mlp_bias);
  TESSERA_RETURN_IF_ERROR(fields.status());

  if (config.num_kv_heads == 0) config.num_kv_heads = config.num_heads;
  if (config.head_size == 0) {
    if (config.hidden_size % config.num_heads != 0) {
      return InvalidArgument(
          "lacks \"head_dim\", and \"hidden_size\" is not a multiple of "
          "\"num_attention_heads\" that could give it.");
    }
    config.head_size =
        static_cast<int32_t>(std::min<int64_t>(config.hidden_size / config.num_heads, kMaxInt32));
  }
  TESSERA_RETURN_IF_ERROR(CheckConsistency(config));
  if (!family->biases && (config.attention_bias || config.mlp_bias)) {
    return Unsupported(std::string("asks for biases, which ") + family->architecture +
                       " does not have.");
  }
  if (!family->sliding_window && config.sliding_window > 0) {
    return Unsupported(std::string("sets \"sliding_window\", which is not supported for ") +
                       family->architecture + ".");
  }
  TESSERA_RETURN_IF_ERROR(CheckLayerTypes(json, config.sliding_window > 0));
  TESSERA_RETURN_IF_ERROR(ReadDType(json, &config.dtype));
  TESSERA_RETURN_IF_ERROR(AddEosTokens(json, &config.eos_token_ids));
  TESSERA_ASSIGN_OR_RETURN(config.rope, ReadRopeConfig(json, config.max_position_embeddings));
  return config;
}

Error Prefixed(const std::string& where, const Error& error) {
  return {error.code, where + " " + error.message};
}

// Nothing if the file is absent.
Result<std::optional<std::string>> ReadSmallFile(const std::filesystem::path& path) {
  constexpr std::streamoff kLongest = 16 << 20;
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return std::optional<std::string>();
  const std::streamoff size = file.tellg();
  if (size < 0 || size > kLongest) {
    return IoError(path.string() +
                   " is not a file of at most 16 MiB, as a configuration should be.");
  }
  std::string text(static_cast<size_t>(size), '\0');
  file.seekg(0);
  file.read(text.data(), size);
  if (!file) return IoError("cannot read " + path.string() + ".");
  return std::optional<std::string>(std::move(text));
}

}  // namespace

std::string SupportedArchitectures() {
  std::string names;
  for (const Family& family : Families()) {
    names += (names.empty() ? "" : ", ") + std::string(family.architecture);
  }
  return names;
}

Result<ModelConfig> ParseModelConfig(std::string_view config_json,
                                     std::string_view generation_config_json) {
  Result<ModelConfig> config = ParseConfig(config_json);
  if (!config.ok()) return Prefixed("the model's configuration", config.error());
  if (!generation_config_json.empty()) {
    const Status merged = MergeGenerationConfig(generation_config_json, &*config);
    if (!merged.ok()) return Prefixed("the generation configuration", merged.error());
  }
  return config;
}

Result<ModelConfig> LoadModelConfig(const std::string& directory) {
  const std::filesystem::path config_path = std::filesystem::path(directory) / "config.json";
  const std::filesystem::path generation_path =
      std::filesystem::path(directory) / "generation_config.json";
  TESSERA_ASSIGN_OR_RETURN(const auto text, ReadSmallFile(config_path));
  if (!text) {
    return NotFound("cannot open " + config_path.string() +
                    ": give the directory of a Hugging Face checkpoint.");
  }
  Result<ModelConfig> config = ParseConfig(*text);
  if (!config.ok()) return Prefixed(config_path.string() + ":", config.error());
  TESSERA_ASSIGN_OR_RETURN(const auto generation, ReadSmallFile(generation_path));
  if (generation) {
    const Status merged = MergeGenerationConfig(*generation, &*config);
    if (!merged.ok()) return Prefixed(generation_path.string() + ":", merged.error());
  }
  return config;
}

}  // namespace tessera
