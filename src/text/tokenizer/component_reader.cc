#include "text/tokenizer/component_reader.h"

namespace tessera::tokenization {

Error UnknownType(std::string_view component, std::string_view type) {
  return Unsupported("The " + std::string(component) + " type \"" + std::string(type) +
                     "\" of tokenizer.json is not supported; use a model with a byte-pair "
                     "tokenizer of the GPT-2, Llama, Mistral or Qwen kind.");
}

Result<Pattern> ParsePattern(Json parent, std::string_view where) {
  const auto pattern = Member(parent, "pattern");
  if (pattern) {
    if (Member(*pattern, "Regex")) {
      TESSERA_ASSIGN_OR_RETURN(const std::string text, StringAt(*pattern, "Regex", where));
      TESSERA_ASSIGN_OR_RETURN(Regex regex, Regex::Oniguruma(text));
      return Pattern{std::move(regex), ""};
    }
    if (Member(*pattern, "String")) {
      TESSERA_ASSIGN_OR_RETURN(std::string text, StringAt(*pattern, "String", where));
      TESSERA_ASSIGN_OR_RETURN(Regex regex, Regex::Literal(text));
      return Pattern{std::move(regex), std::move(text)};
    }
  }
  return Corrupt("\"pattern\" of " + std::string(where) +
                 " must be an object with a String or a Regex; the file is damaged.");
}

Status ForEachComponent(Json json, std::string_view members, std::string_view component,
                        const std::function<Status(Json, const std::string&)>& read, int depth) {
  const std::string where = "the " + std::string(component);
  TESSERA_ASSIGN_OR_RETURN(const std::string type, StringAt(json, "type", where));
  if (type != "Sequence") return read(json, type);
  if (depth == kMaxNesting) {
    return Unsupported("Sequences of " + where + " are nested deeper than " +
                       std::to_string(kMaxNesting) + " levels; flatten them.");
  }
  TESSERA_ASSIGN_OR_RETURN(const auto list, ArrayAt(json, members, where));
  for (const Json member : list) {
    TESSERA_RETURN_IF_ERROR(ForEachComponent(member, members, component, read, depth + 1));
  }
  return {};
}

}  // namespace tessera::tokenization
