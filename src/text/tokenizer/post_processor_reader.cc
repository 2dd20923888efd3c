#include "text/tokenizer/component_reader.h"
#include "text/tokenizer/components.h"

namespace tessera::tokenization {
namespace {

constexpr std::string_view kWhere = "the post_processor";

Error Damaged(std::string_view what) {
  return Corrupt("The post_processor " + std::string(what) + "; correct it in tokenizer.json.");
}

// The ids of one special token of a template.
Result<std::vector<int32_t>> SpecialTokenIds(Json json, std::string_view name, int32_t largest_id) {
  const auto tokens = Member(json, "special_tokens");
  const auto token = tokens ? Member(*tokens, name) : std::nullopt;
  if (!token) return Damaged("uses \"" + std::string(name) + "\", which it does not define");
  TESSERA_ASSIGN_OR_RETURN(const auto list, ArrayAt(*token, "ids", kWhere));
  std::vector<int32_t> ids;
  for (const Json element : list) {
    int64_t id = -1;
    if (element.get(id) || id < 0 || id > largest_id) {
      return Damaged("gives \"" + std::string(name) + "\" an id that no token has");
    }
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

Status ReadTemplate(Json json, int32_t largest_id, PostProcessor* out) {
  TESSERA_ASSIGN_OR_RETURN(const auto pieces, ArrayAt(json, "single", kWhere));
  std::vector<int32_t> before;
  std::vector<int32_t> after;
  bool seen = false;  // whether the text's place has come
  for (const Json piece : pieces) {
    if (Member(piece, "Sequence")) {
      if (seen) return Damaged("repeats the text, which is not supported");
      seen = true;
      continue;
    }
    const auto special = Member(piece, "SpecialToken");
    if (!special) return Damaged("has a piece that is neither Sequence nor SpecialToken");
    TESSERA_ASSIGN_OR_RETURN(const std::string name, StringAt(*special, "id", kWhere));
    TESSERA_ASSIGN_OR_RETURN(const auto ids, SpecialTokenIds(json, name, largest_id));
    auto& side = seen ? after : before;
    side.insert(side.end(), ids.begin(), ids.end());
  }
  if (!seen) return Damaged("leaves the text out, which is not supported");
  out->before.insert(out->before.begin(), before.begin(), before.end());
  out->after.insert(out->after.end(), after.begin(), after.end());
  return {};
}

// ["</s>", 2], as BertProcessing and RobertaProcessing have it.
Result<int32_t> TokenPair(Json json, std::string_view key, int32_t largest_id) {
  TESSERA_ASSIGN_OR_RETURN(const auto pair, ArrayAt(json, key, kWhere));
  int64_t id = -1;
  if (pair.at(1).get(id) || id < 0 || id > largest_id) {
    return Damaged("gives \"" + std::string(key) + "\" an id that no token has");
  }
  return static_cast<int32_t>(id);
}

}  // namespace

Result<PostProcessor> ParsePostProcessor(Json json, int32_t largest_id) {
  PostProcessor out;
  const auto read = [&](Json step, const std::string& type) -> Status {
    if (type == "ByteLevel") return {};  // concerns offsets only
    if (type == "TemplateProcessing") return ReadTemplate(step, largest_id, &out);
    if (type == "BertProcessing" || type == "RobertaProcessing") {
      TESSERA_ASSIGN_OR_RETURN(const int32_t cls, TokenPair(step, "cls", largest_id));
      TESSERA_ASSIGN_OR_RETURN(const int32_t sep, TokenPair(step, "sep", largest_id));
      out.before.insert(out.before.begin(), cls);
      out.after.push_back(sep);
      return {};
    }
    return UnknownType("post_processor", type);
  };
  TESSERA_RETURN_IF_ERROR(ForEachComponent(json, "processors", "post_processor", read));
  return out;
}

}  // namespace tessera::tokenization
