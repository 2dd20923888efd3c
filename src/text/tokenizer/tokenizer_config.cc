#include "text/tokenizer/tokenizer_config.h"

#include "text/tokenizer/json.h"

namespace tessera::tokenization {
namespace {

constexpr std::string_view kFile = "tokenizer_config.json";

// "<s>", or an object whose "content" that is.
Result<std::string> ReadToken(Json root, std::string_view key) {
  const auto member = Member(root, key);
  if (member && member->is_object()) return StringOr(*member, "content", "", kFile);
  return StringOr(root, key, "", kFile);
}

// The template itself, or a list of {"name": ..., "template": ...}.
Result<std::string> ReadChatTemplate(Json root) {
  const auto member = Member(root, "chat_template");
  if (!member || !member->is_array()) return StringOr(root, "chat_template", "", kFile);
  TESSERA_ASSIGN_OR_RETURN(const auto list, ArrayAt(root, "chat_template", kFile));
  for (const Json entry : list) {
    TESSERA_ASSIGN_OR_RETURN(const std::string name, StringAt(entry, "name", "a chat template"));
    if (name == "default") return StringAt(entry, "template", "the default chat template");
  }
  return std::string();
}

}  // namespace

Result<TokenizerConfig> ParseTokenizerConfig(std::string_view json) {
  TokenizerConfig config;
  if (json.empty()) return config;
  simdjson::dom::parser parser;
  TESSERA_ASSIGN_OR_RETURN(const Json root, ParseJson(&parser, json, kFile));
  TESSERA_ASSIGN_OR_RETURN(config.bos_token, ReadToken(root, "bos_token"));
  TESSERA_ASSIGN_OR_RETURN(config.eos_token, ReadToken(root, "eos_token"));
  TESSERA_ASSIGN_OR_RETURN(config.chat_template, ReadChatTemplate(root));
  return config;
}

}  // namespace tessera::tokenization
