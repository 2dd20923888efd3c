#include "model/json_reader.h"

#include <cmath>
#include <cstdio>

namespace tessera {
namespace {

Error WrongType(const char* key, const char* wanted) {
  return InvalidArgument(std::string("\"") + key + "\" must be " + wanted + ".");
}

std::string ToText(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.10g", value);
  return text;
}

}  // namespace

Result<simdjson::dom::object> ParseJsonObject(simdjson::dom::parser* parser,
                                              std::string_view text) {
  // simdjson copies from the pointer, which must not be null.
  if (text.empty()) return Corrupt("is not valid JSON: it is empty.");
  simdjson::dom::element root;
  simdjson::dom::object object;
  if (auto error = parser->parse(text.data(), text.size()).get(root); error) {
    return Corrupt(std::string("is not valid JSON: ") + simdjson::error_message(error));
  }
  if (root.get(object)) return Corrupt("is not a JSON object.");
  return object;
}

std::optional<simdjson::dom::element> JsonReader::Find(const char* key) const {
  simdjson::dom::element value;
  if (object_.at_key(key).get(value) || value.is_null()) return std::nullopt;
  return value;
}

bool JsonReader::Has(const char* key) const { return Find(key).has_value(); }

Result<std::optional<JsonReader>> JsonReader::Object(const char* key) const {
  const auto value = Find(key);
  if (!value) return std::optional<JsonReader>();
  simdjson::dom::object object;
  if (value->get(object)) return WrongType(key, "an object");
  return std::optional<JsonReader>(JsonReader(object));
}

Result<std::optional<int64_t>> JsonReader::Integer(const char* key, int64_t low,
                                                   int64_t high) const {
  const auto value = Find(key);
  if (!value) return std::optional<int64_t>();
  int64_t number = 0;
  if (value->get(number)) return WrongType(key, "a whole number");
  if (number < low || number > high) {
    return InvalidArgument(std::string("\"") + key + "\" is " + std::to_string(number) +
                           ", outside " + std::to_string(low) + " to " + std::to_string(high) +
                           ".");
  }
  return std::optional<int64_t>(number);
}

Result<std::optional<double>> JsonReader::Number(const char* key, double low, double high) const {
  const auto value = Find(key);
  if (!value) return std::optional<double>();
  double number = 0;
  if (value->get(number)) return WrongType(key, "a number");
  if (!(number >= low && number <= high)) {
    return InvalidArgument(std::string("\"") + key + "\" is " + ToText(number) + ", outside " +
                           ToText(low) + " to " + ToText(high) + ".");
  }
  return std::optional<double>(number);
}

Result<std::optional<bool>> JsonReader::Boolean(const char* key) const {
  const auto value = Find(key);
  if (!value) return std::optional<bool>();
  bool flag = false;
  if (value->get(flag)) return WrongType(key, "true or false");
  return std::optional<bool>(flag);
}

Result<std::optional<std::string>> JsonReader::String(const char* key) const {
  const auto value = Find(key);
  if (!value) return std::optional<std::string>();
  std::string_view text;
  if (value->get(text)) return WrongType(key, "a string");
  return std::optional<std::string>(std::string(text));
}

}  // namespace tessera
