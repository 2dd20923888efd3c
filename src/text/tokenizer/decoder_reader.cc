#include "text/tokenizer/component_reader.h"
#include "text/tokenizer/components.h"

namespace tessera::tokenization {
namespace {

constexpr std::string_view kWhere = "the decoder";
constexpr int64_t kMaxStrip = 1 << 20;

Result<DecoderStep> ReadMetaspace(Json json) {
  TESSERA_ASSIGN_OR_RETURN(std::string replacement, CharacterAt(json, "replacement", kWhere));
  TESSERA_ASSIGN_OR_RETURN(const bool prefix, BoolOr(json, "add_prefix_space", true, kWhere));
  TESSERA_ASSIGN_OR_RETURN(const std::string scheme,
                           StringOr(json, "prepend_scheme", prefix ? "always" : "never", kWhere));
  return DecoderStep{MetaspaceDecoder{std::move(replacement), scheme != "never"}};
}

Result<DecoderStep> ReadReplace(Json json) {
  TESSERA_ASSIGN_OR_RETURN(Pattern pattern, ParsePattern(json, kWhere));
  TESSERA_ASSIGN_OR_RETURN(std::string content, StringAt(json, "content", kWhere));
  return DecoderStep{
      ReplaceDecoder{std::move(pattern.regex), std::move(pattern.literal), std::move(content)}};
}

Result<DecoderStep> ReadStrip(Json json) {
  StripDecoder step;
  TESSERA_ASSIGN_OR_RETURN(step.content, CharacterAt(json, "content", kWhere));
  TESSERA_ASSIGN_OR_RETURN(step.start, IntegerOr(json, "start", 0, 0, kMaxStrip, kWhere));
  TESSERA_ASSIGN_OR_RETURN(step.stop, IntegerOr(json, "stop", 0, 0, kMaxStrip, kWhere));
  return DecoderStep{std::move(step)};
}

Result<DecoderStep> ReadStep(Json json, const std::string& type) {
  if (type == "ByteLevel") return DecoderStep{ByteLevelDecoder{}};
  if (type == "ByteFallback") return DecoderStep{ByteFallbackDecoder{}};
  if (type == "Fuse") return DecoderStep{FuseDecoder{}};
  if (type == "Metaspace") return ReadMetaspace(json);
  if (type == "Replace") return ReadReplace(json);
  if (type == "Strip") return ReadStrip(json);
  if (type == "BPEDecoder") {
    TESSERA_ASSIGN_OR_RETURN(std::string suffix, StringOr(json, "suffix", "</w>", kWhere));
    if (suffix.empty()) {
      return Unsupported(
          "The BPEDecoder of tokenizer.json has an empty suffix; set it to the "
          "model's end_of_word_suffix.");
    }
    return DecoderStep{WordSuffixDecoder{std::move(suffix)}};
  }
  return UnknownType("decoder", type);
}

}  // namespace

Result<std::vector<DecoderStep>> ParseDecoder(Json json) {
  std::vector<DecoderStep> steps;
  const auto read = [&](Json element, const std::string& type) -> Status {
    TESSERA_ASSIGN_OR_RETURN(DecoderStep step, ReadStep(element, type));
    steps.push_back(std::move(step));
    return {};
  };
  TESSERA_RETURN_IF_ERROR(ForEachComponent(json, "decoders", "decoder", read));
  return steps;
}

}  // namespace tessera::tokenization
