#include "text/tokenizer/model_reader.h"

#include <unordered_set>

#include "text/tokenizer/component_reader.h"

namespace tessera::tokenization {
namespace {

constexpr std::string_view kWhere = "the model in tokenizer.json";
constexpr size_t kMaxAddedTokenBytes = 4096;

Error BadId(std::string_view token) {
  return Corrupt("The id of token \"" + std::string(token) + "\" is not an integer from 0 to " +
                 std::to_string(kMaxTokenId) + "; the tokenizer.json is damaged.");
}

Status ReadVocabulary(Json json, BpeConfig* config) {
  simdjson::dom::object vocabulary;
  const auto member = Member(json, "vocab");
  if (!member || member->get(vocabulary)) {
    return Corrupt("\"vocab\" of " + std::string(kWhere) +
                   " must be an object of tokens and ids; the file is damaged.");
  }
  std::unordered_set<int64_t> seen;
  for (const auto& [token, value] : vocabulary) {
    int64_t id = -1;
    if (value.get(id) || id < 0 || id > kMaxTokenId) return BadId(token);
    if (!seen.insert(id).second) {
      return Corrupt("The id " + std::to_string(id) + " belongs to two tokens, one of them \"" +
                     std::string(token) + "\"; the vocabulary of tokenizer.json is damaged.");
    }
    config->vocabulary.emplace_back(token, static_cast<int32_t>(id));
  }
  return {};
}

// "a b" in older files, ["a", "b"] in newer ones.
Status ReadMerge(Json merge, BpeConfig* config) {
  std::string_view text;
  simdjson::dom::array pair;
  if (!merge.get(text)) {
    const size_t space = text.find(' ');
    if (space != std::string_view::npos && text.find(' ', space + 1) == std::string_view::npos) {
      config->merges.emplace_back(text.substr(0, space), text.substr(space + 1));
      return {};
    }
  } else if (!merge.get(pair) && pair.size() == 2) {
    std::string_view left;
    std::string_view right;
    if (!pair.at(0).get(left) && !pair.at(1).get(right)) {
      config->merges.emplace_back(left, right);
      return {};
    }
  }
  return Corrupt("Merge " + std::to_string(config->merges.size()) +
                 " of tokenizer.json is neither \"a b\" nor [\"a\", \"b\"]; the file is damaged.");
}

}  // namespace

Result<BpeConfig> ParseBpeConfig(Json json) {
  TESSERA_ASSIGN_OR_RETURN(const std::string type, StringOr(json, "type", "BPE", kWhere));
  if (type != "BPE") return UnknownType("model", type);
  const auto dropout = Member(json, "dropout");
  double probability = 0;
  if (dropout && (dropout->get(probability) || probability != 0)) {
    return Unsupported(
        "The model of tokenizer.json has a dropout, which makes tokens random; set "
        "it to null.");
  }
  BpeConfig config;
  TESSERA_ASSIGN_OR_RETURN(config.unk_token, StringOr(json, "unk_token", "", kWhere));
  TESSERA_ASSIGN_OR_RETURN(config.continuing_subword_prefix,
                           StringOr(json, "continuing_subword_prefix", "", kWhere));
  TESSERA_ASSIGN_OR_RETURN(config.end_of_word_suffix,
                           StringOr(json, "end_of_word_suffix", "", kWhere));
  TESSERA_ASSIGN_OR_RETURN(config.fuse_unk, BoolOr(json, "fuse_unk", false, kWhere));
  TESSERA_ASSIGN_OR_RETURN(config.byte_fallback, BoolOr(json, "byte_fallback", false, kWhere));
  TESSERA_ASSIGN_OR_RETURN(config.ignore_merges, BoolOr(json, "ignore_merges", false, kWhere));
  TESSERA_RETURN_IF_ERROR(ReadVocabulary(json, &config));
  TESSERA_ASSIGN_OR_RETURN(const auto merges, ArrayAt(json, "merges", kWhere));
  for (const Json merge : merges) TESSERA_RETURN_IF_ERROR(ReadMerge(merge, &config));
  return config;
}

Result<std::vector<AddedToken>> ParseAddedTokens(Json root, const Bpe& bpe) {
  constexpr std::string_view kEntry = "an added token";
  std::vector<AddedToken> tokens;
  if (!Member(root, "added_tokens")) return tokens;
  TESSERA_ASSIGN_OR_RETURN(const auto list, ArrayAt(root, "added_tokens", "tokenizer.json"));
  std::unordered_set<std::string> seen;
  for (const Json entry : list) {
    AddedToken token;
    TESSERA_ASSIGN_OR_RETURN(token.content, StringAt(entry, "content", kEntry));
    if (token.content.size() > kMaxAddedTokenBytes) {
      return Unsupported("An added token of " + std::to_string(token.content.size()) +
                         " bytes is longer than the " + std::to_string(kMaxAddedTokenBytes) +
                         " that are supported; the tokenizer.json is probably damaged.");
    }
    TESSERA_ASSIGN_OR_RETURN(token.special, BoolOr(entry, "special", false, kEntry));
    TESSERA_ASSIGN_OR_RETURN(token.normalized, BoolOr(entry, "normalized", !token.special, kEntry));
    TESSERA_ASSIGN_OR_RETURN(token.lstrip, BoolOr(entry, "lstrip", false, kEntry));
    TESSERA_ASSIGN_OR_RETURN(token.rstrip, BoolOr(entry, "rstrip", false, kEntry));
    TESSERA_ASSIGN_OR_RETURN(token.single_word, BoolOr(entry, "single_word", false, kEntry));
    const auto in_model = bpe.TokenId(token.content);
    int64_t id = -1;
    if (in_model) {
      id = *in_model;
    } else if (const auto member = Member(entry, "id");
               !member || member->get(id) || id < 0 || id > kMaxTokenId) {
      return BadId(token.content);
    }
    token.id = static_cast<int32_t>(id);
    if (token.content.empty() || !seen.insert(token.content).second) continue;
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace tessera::tokenization
