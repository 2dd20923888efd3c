#include "model/rope_config.h"

#include <optional>
#include <string>
#include <utility>

namespace tessera {
namespace {

constexpr double kMaxFactor = 1e6;

constexpr std::pair<const char*, RopeType> kTypes[] = {
    {"default", RopeType::kDefault}, {"linear", RopeType::kLinear}, {"dynamic", RopeType::kDynamic},
    {"llama3", RopeType::kLlama3},   {"yarn", RopeType::kYarn},
};

Result<RopeType> ReadType(const JsonReader& parameters) {
  TESSERA_ASSIGN_OR_RETURN(std::optional<std::string> name, parameters.String("rope_type"));
  if (!name) {
    TESSERA_ASSIGN_OR_RETURN(name, parameters.String("type"));
  }
  if (!name) return RopeType::kDefault;
  std::string known;
  for (const auto& [type_name, type] : kTypes) {
    if (*name == type_name) return type;
    known += (known.empty() ? "" : ", ") + std::string(type_name);
  }
  return Unsupported("asks for the rotary embedding \"" + name->substr(0, 40) +
                     "\", which is not supported; supported are " + known + ".");
}

Status ReadNumber(const JsonReader& json, const char* key, double low, double high,
                  double* target) {
  TESSERA_ASSIGN_OR_RETURN(const std::optional<double> value, json.Number(key, low, high));
  if (value) *target = *value;
  return {};
}

Status ReadYarn(const JsonReader& json, RopeConfig* rope) {
  // transformers takes 0 for absent in beta_fast and beta_slow, and in the two mscales.
  const double beta_fast = rope->beta_fast;
  const double beta_slow = rope->beta_slow;
  TESSERA_RETURN_IF_ERROR(ReadNumber(json, "beta_fast", 0, 1e6, &rope->beta_fast));
  TESSERA_RETURN_IF_ERROR(ReadNumber(json, "beta_slow", 0, 1e6, &rope->beta_slow));
  if (rope->beta_fast == 0) rope->beta_fast = beta_fast;
  if (rope->beta_slow == 0) rope->beta_slow = beta_slow;
  if (rope->beta_fast < rope->beta_slow) {
    return InvalidArgument("\"beta_fast\" of the rotary embedding is below \"beta_slow\".");
  }
  TESSERA_RETURN_IF_ERROR(ReadNumber(json, "attention_factor", 0, 1e3, &rope->attention_factor));
  TESSERA_RETURN_IF_ERROR(ReadNumber(json, "mscale", 0, 1e3, &rope->mscale));
  TESSERA_RETURN_IF_ERROR(ReadNumber(json, "mscale_all_dim", 0, 1e3, &rope->mscale_all_dim));
  TESSERA_ASSIGN_OR_RETURN(const std::optional<bool> truncate, json.Boolean("truncate"));
  rope->truncate = truncate.value_or(true);
  if (rope->theta <= 1) {
    return InvalidArgument("\"rope_theta\" must be above 1 for the rotary embedding \"yarn\".");
  }
  return {};
}

Status ReadLlama3(const JsonReader& json, RopeConfig* rope) {
  TESSERA_RETURN_IF_ERROR(ReadNumber(json, "low_freq_factor", 1e-6, 1e6, &rope->low_freq_factor));
  TESSERA_RETURN_IF_ERROR(ReadNumber(json, "high_freq_factor", 1e-6, 1e6, &rope->high_freq_factor));
  if (rope->low_freq_factor >= rope->high_freq_factor) {
    return InvalidArgument(
        "\"low_freq_factor\" of the rotary embedding must be below \"high_freq_factor\".");
  }
  return {};
}

// What both forms may also keep at the top.
Status ReadBase(const JsonReader& json, RopeConfig* rope) {
  TESSERA_RETURN_IF_ERROR(ReadNumber(json, "rope_theta", 1e-3, 1e15, &rope->theta));
  TESSERA_RETURN_IF_ERROR(
      ReadNumber(json, "partial_rotary_factor", 1e-3, 1.0, &rope->partial_rotary_factor));
  TESSERA_ASSIGN_OR_RETURN(const std::optional<int64_t> original,
                           json.Integer("original_max_position_embeddings", 1, 1 << 30));
  if (original) rope->original_max_position_embeddings = *original;
  return {};
}

Status ReadFactor(const JsonReader& json, int64_t max_position_embeddings, RopeConfig* rope) {
  TESSERA_ASSIGN_OR_RETURN(const std::optional<double> factor,
                           json.Number("factor", 1.0, kMaxFactor));
  if (factor) {
    rope->factor = *factor;
  } else if (rope->type == RopeType::kYarn) {
    rope->factor = static_cast<double>(max_position_embeddings) /
                   static_cast<double>(rope->original_max_position_embeddings);
  } else {
    return InvalidArgument("lacks the \"factor\" of its scaled rotary embedding.");
  }
  if (rope->factor < 1.0 || rope->factor > kMaxFactor) {
    return InvalidArgument("scales its rotary embedding by a factor outside 1 to 1000000.");
  }
  return {};
}

}  // namespace

Result<RopeConfig> ReadRopeConfig(const JsonReader& config, int64_t max_position_embeddings) {
  RopeConfig rope;
  TESSERA_ASSIGN_OR_RETURN(const auto new_form, config.Object("rope_parameters"));
  TESSERA_ASSIGN_OR_RETURN(const auto old_form, config.Object("rope_scaling"));
  const JsonReader& parameters = new_form ? *new_form : old_form ? *old_form : config;
  if (new_form && (new_form->Has("full_attention") || new_form->Has("sliding_attention"))) {
    return Unsupported(
        "has one rotary embedding for each kind of layer in \"rope_parameters\", which is not "
        "supported.");
  }
  TESSERA_RETURN_IF_ERROR(ReadBase(config, &rope));
  TESSERA_RETURN_IF_ERROR(ReadBase(parameters, &rope));
  if (rope.original_max_position_embeddings == 0) {
    rope.original_max_position_embeddings = max_position_embeddings;
  }
  if (!new_form && !old_form) return rope;

  TESSERA_ASSIGN_OR_RETURN(rope.type, ReadType(parameters));
  if (rope.type == RopeType::kDefault) return rope;
  TESSERA_RETURN_IF_ERROR(ReadFactor(parameters, max_position_embeddings, &rope));
  if (rope.type == RopeType::kYarn) TESSERA_RETURN_IF_ERROR(ReadYarn(parameters, &rope));
  if (rope.type == RopeType::kLlama3) TESSERA_RETURN_IF_ERROR(ReadLlama3(parameters, &rope));
  return rope;
}

}  // namespace tessera
