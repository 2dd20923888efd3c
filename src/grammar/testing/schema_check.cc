#include "grammar/testing/schema_check.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <regex>
#include <vector>

namespace tessera::testing {
namespace {

bool IsType(const Json& value, const std::string& type) {
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  return type == value.type_name();
}

int64_t Length(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

std::string CheckString(const std::string& text, const Json& schema) {
  const int64_t length = Length(text);
  if (length < schema.value("minLength", int64_t{0})) return "too short: " + text;
  if (length > schema.value("maxLength", int64_t{1} << 40)) return "too long: " + text;
  if (schema.contains("pattern") &&
      !std::regex_search(text, std::regex(schema["pattern"].get<std::string>()))) {
    return "no match of the pattern: " + text;
  }
  return "";
}

std::string CheckNumber(double number, const Json& schema) {
  const double infinity = HUGE_VAL;
  const bool inside = number >= schema.value("minimum", -infinity) &&
                      number <= schema.value("maximum", infinity) &&
                      number > schema.value("exclusiveMinimum", -infinity) &&
                      number < schema.value("exclusiveMaximum", infinity);
  if (schema.contains("multipleOf")) {
    const double parts = number / schema["multipleOf"].get<double>();
    if (std::fabs(parts - std::round(parts)) > 1e-6) return "no multiple";
  }
  return inside ? "" : "out of range: " + std::to_string(number);
}

std::string CheckArray(const Json& value, const Json& schema, const Json& root) {
  if (value.size() < schema.value("minItems", size_t{0})) return "too few items";
  if (value.size() > schema.value("maxItems", size_t{1} << 40)) return "too many items";
  for (auto it = value.begin(); schema.value("uniqueItems", false) && it != value.end(); ++it) {
    if (std::find(value.begin(), it, *it) != it) return "an item comes twice";
  }
  const Json prefix = schema.value("prefixItems", Json::array());
  for (size_t i = 0; i < value.size(); ++i) {
    const Json item = i < prefix.size() ? prefix[i] : schema.value("items", Json(true));
    if (std::string wrong = Violation(value[i], item, root); !wrong.empty()) return wrong;
  }
  return "";
}

std::string CheckObject(const Json& value, const Json& schema, const Json& root) {
  for (const Json& name : schema.value("required", Json::array())) {
    if (!value.contains(name.get<std::string>())) return "lacks " + name.dump();
  }
  const Json properties = schema.value("properties", Json::object());
  const Json patterns = schema.value("patternProperties", Json::object());
  for (const auto& [name, member] : value.items()) {
    bool matches = false;
    for (const auto& [pattern, inner] : patterns.items()) {
      if (!std::regex_search(name, std::regex(pattern))) continue;
      matches = true;
      if (std::string wrong = Violation(member, inner, root); !wrong.empty()) return wrong;
    }
    if (matches && !properties.contains(name)) continue;
    const Json inner = properties.contains(name) ? properties[name]
                                                 : schema.value("additionalProperties", Json(true));
    if (std::string wrong = Violation(member, inner, root); !wrong.empty()) {
      return name + ": " + wrong;
    }
  }
  return "";
}

}  // namespace

std::string Violation(const Json& value, const Json& schema, const Json& root) {
  if (schema.is_boolean()) return schema.get<bool>() ? "" : "nothing is allowed";
  if (schema.contains("$ref")) {
    const std::string pointer = schema["$ref"].get<std::string>().substr(1);
    return Violation(value, root.at(Json::json_pointer(pointer)), root);
  }
  if (schema.contains("type")) {
    const Json types = schema["type"].is_array() ? schema["type"] : Json::array({schema["type"]});
    if (std::none_of(types.begin(), types.end(),
                     [&](const Json& type) { return IsType(value, type.get<std::string>()); })) {
      return value.dump() + " is not of type " + types.dump();
    }
  }
  if (schema.contains("const") && schema["const"] != value) return "not the constant";
  if (schema.contains("enum")) {
    const Json& list = schema["enum"];
    if (std::find(list.begin(), list.end(), value) == list.end()) return "not in the enum";
  }
  for (const Json& part : schema.value("allOf", Json::array())) {
    if (std::string wrong = Violation(value, part, root); !wrong.empty()) return wrong;
  }
  if (schema.contains("anyOf") &&
      std::none_of(schema["anyOf"].begin(), schema["anyOf"].end(),
                   [&](const Json& part) { return Violation(value, part, root).empty(); })) {
    return value.dump() + " follows none of anyOf";
  }
  if (value.is_string()) return CheckString(value.get<std::string>(), schema);
  if (value.is_number()) return CheckNumber(value.get<double>(), schema);
  if (value.is_array()) return CheckArray(value, schema, root);
  if (value.is_object()) return CheckObject(value, schema, root);
  return "";
}

namespace {

class Generator {
 public:
  explicit Generator(std::mt19937* random) : random_(*random) {}

  Json Schema(int depth) {
    switch (Below(depth > 0 ? 14 : 7)) {
      case 0:
        return String();
      case 1:
        return Number("integer");
      case 2:
        return Number("number");
      case 3:
        return {{"type", Below(2) == 0 ? "boolean" : "null"}};
      case 4:
        return {{"enum",
                 {"red",
                  "a \"quoted\" \\ one\n",
                  17,
                  -2.5,
                  nullptr,
                  true,
                  {{"a", {1, 2}}},
                  "\u00e4\u4e2d"}}};
      case 5:
        return {{"type", {"string", "integer", "null"}}, {"minimum", -3}, {"maxLength", 4}};
      case 6:
        return {{"const", {{"x", Below(100)}}}, {"title", "a constant"}};
      case 7:
      case 8:
        return Object(depth);
      case 9:
        return Array(depth);
      case 12:
        return {{"patternProperties", {{"^[a-c]{1,3}$|\"x", Schema(depth - 1)}}},
                {"additionalProperties", false}};
      case 13:
        return {{"uniqueItems", true},
                {"items",
                 {{"enum", {"a", 1, 2.5, nullptr, {{"b", 1}}}},
                  {"type", {"string", "object", "number"}}}},
                {"minItems", Below(4)},
                {"maxItems", 3 + Below(3)}};
      case 10:
        return {{"anyOf", {Schema(depth - 1), Schema(depth - 1), {{"$ref", "#/$defs/tree"}}}}};
      default:
        return {{"allOf",
                 {{{"type", "object"}, {"properties", {{"p", Schema(depth - 1)}}}},
                  {{"required", {"p"}}, {"properties", {{"q", Schema(depth - 1)}}}}}}};
    }
  }

 private:
  int Below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }

  Json String() {
    static const char* const kPatterns[] = {
        "^[a-z]+$",    "^(foo|ba+r)$", "[0-9]{2,3}x?$",   "^\\w",
        "^[^\"b-y]*$", "\\\\|\"",      "^\\d{3}-\\d{4}$", "ab?c"};
    Json schema = {{"type", "string"}};
    if (Below(2) == 0) schema["maxLength"] = 12 + Below(20);
    if (Below(3) == 0) schema["minLength"] = Below(4);
    if (Below(2) == 0) schema["pattern"] = kPatterns[Below(std::size(kPatterns))];
    return schema;
  }

  Json Number(const char* type) {
    static const double kLow[] = {-1000, -12.5, -0.125, 0, 0.3, 7, 99.75};
    Json schema = {{"type", type}};
    const double low = kLow[Below(std::size(kLow))];
    const int bounds = Below(4);
    if (bounds & 1) schema[Below(2) == 0 ? "minimum" : "exclusiveMinimum"] = low;
    if (bounds & 2) {
      const double width = Below(2) == 0 ? 2.25 : 1234;
      schema[Below(2) == 0 ? "maximum" : "exclusiveMaximum"] = low + width;
    } else if (Below(3) == 0) {
      static const double kSteps[] = {1, 2, 7, 360, 0.5, 0.01, 2.5, 0.125};
      schema["multipleOf"] = kSteps[Below(std::size(kSteps))];
    }
    return schema;
  }

  Json Object(int depth) {
    Json schema = {{"type", "object"}, {"properties", Json::object()}, {"required", Json::array()}};
    for (int i = Below(5); i > 0; --i) {
      const std::string name =
          std::string(1, static_cast<char>('a' + Below(20))) + "\"n" + std::to_string(i);
      schema["properties"][name] = Schema(depth - 1);
      if (Below(2) == 0) schema["required"].push_back(name);
    }
    if (Below(4) == 0) schema["required"].push_back("else");
    const int others = Below(3);
    if (others == 0) schema["additionalProperties"] = Schema(depth - 1);
    if (others == 1) {
      schema["additionalProperties"] = false;
      for (const Json& name : schema["required"]) {
        if (name == "else") schema["properties"]["else"] = true;
      }
    }
    return schema;
  }

  Json Array(int depth) {
    Json schema = {{"type", "array"}, {"items", Schema(depth - 1)}};
    if (Below(2) == 0) schema["maxItems"] = 2 + Below(3);
    if (Below(2) == 0) schema["minItems"] = Below(3);
    if (Below(3) == 0) schema["prefixItems"] = {Schema(depth - 1), Schema(depth - 1)};
    return schema;
  }

  std::mt19937& random_;
};

}  // namespace

Json RandomSchema(std::mt19937* random) {
  Generator generator(random);
  Json schema = generator.Schema(3);
  schema["$defs"]["tree"] = {
      {"type", "object"},
      {"properties",
       {{"label", {{"type", "string"}, {"maxLength", 5}}},
        {"children", {{"type", "array"}, {"items", {{"$ref", "#/$defs/tree"}}}, {"maxItems", 2}}}}},
      {"required", {"label"}},
      {"additionalProperties", false}};
  return schema;
}

}  // namespace tessera::testing
