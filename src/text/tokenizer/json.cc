#include "text/tokenizer/json.h"

#include "text/tokenizer/unicode.h"

namespace tessera::tokenization {
namespace {

Error WrongType(std::string_view key, std::string_view where, std::string_view wanted) {
  return Corrupt("\"" + std::string(key) + "\" of " + std::string(where) + " must be " +
                 std::string(wanted) + "; the file is damaged or of an unknown version.");
}

}  // namespace

std::optional<Json> Member(Json parent, std::string_view key) {
  Json value;
  if (parent.at_key(key).get(value) || value.is_null()) return std::nullopt;
  return value;
}

Result<bool> BoolOr(Json parent, std::string_view key, bool fallback, std::string_view where) {
  const auto member = Member(parent, key);
  if (!member) return fallback;
  bool value = false;
  if (member->get(value)) return WrongType(key, where, "true or false");
  return value;
}

Result<std::string> StringOr(Json parent, std::string_view key, std::string_view fallback,
                             std::string_view where) {
  const auto member = Member(parent, key);
  if (!member) return std::string(fallback);
  std::string_view value;
  if (member->get(value)) return WrongType(key, where, "a string");
  return std::string(value);
}

Result<int64_t> IntegerOr(Json parent, std::string_view key, int64_t fallback, int64_t smallest,
                          int64_t largest, std::string_view where) {
  const auto member = Member(parent, key);
  if (!member) return fallback;
  int64_t value = 0;
  if (member->get(value) || value < smallest || value > largest) {
    return WrongType(
        key, where,
        "an integer from " + std::to_string(smallest) + " to " + std::to_string(largest));
  }
  return value;
}

Result<simdjson::dom::array> ArrayAt(Json parent, std::string_view key, std::string_view where) {
  const auto member = Member(parent, key);
  simdjson::dom::array value;
  if (!member || member->get(value)) return WrongType(key, where, "an array");
  return value;
}

Result<std::string> StringAt(Json parent, std::string_view key, std::string_view where) {
  const auto member = Member(parent, key);
  std::string_view value;
  if (!member || member->get(value)) return WrongType(key, where, "a string");
  return std::string(value);
}

Result<std::string> CharacterAt(Json parent, std::string_view key, std::string_view where) {
  TESSERA_ASSIGN_OR_RETURN(std::string value, StringAt(parent, key, where));
  if (value.empty() || CharLength(value) != value.size()) {
    return WrongType(key, where, "a string of one character");
  }
  return value;
}

Result<Json> ParseJson(simdjson::dom::parser* parser, std::string_view text,
                       std::string_view file) {
  Json root;
  if (const auto error = parser->parse(text.data(), text.size()).get(root)) {
    return Corrupt(std::string(file) + " is not valid JSON (" + simdjson::error_message(error) +
                   "); download it again.");
  }
  if (!root.is_object()) {
    return Corrupt(std::string(file) + " must hold a JSON object; download it again.");
  }
  return root;
}

}  // namespace tessera::tokenization
