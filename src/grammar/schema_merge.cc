#include "grammar/schema_merge.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace tessera::grammar {
namespace {

constexpr std::array kAnnotations = {
    "title",   "description", "default",         "examples",         "example",  "$schema",
    "$id",     "id",          "$comment",        "deprecated",       "readOnly", "writeOnly",
    "$defs",   "definitions", "contentEncoding", "contentMediaType", "$anchor",  "discriminator",
    "nullable"};

constexpr std::array kUnserved = {"not",
                                  "if",
                                  "then",
                                  "else",
                                  "propertyNames",
                                  "contains",
                                  "minContains",
                                  "dependentRequired",
                                  "dependentSchemas",
                                  "dependencies",
                                  "$dynamicRef",
                                  "$recursiveRef",
                                  "maxContains",
                                  "divisibleBy",
                                  "extends",
                                  "disallow",
                                  "unevaluatedItems"};

constexpr std::array kServed = {"type",
                                "enum",
                                "const",
                                "properties",
                                "required",
                                "additionalProperties",
                                "unevaluatedProperties",
                                "minProperties",
                                "maxProperties",
                                "items",
                                "prefixItems",
                                "additionalItems",
                                "minItems",
                                "maxItems",
                                "pattern",
                                "format",
                                "minLength",
                                "maxLength",
                                "minimum",
                                "maximum",
                                "exclusiveMinimum",
                                "exclusiveMaximum",
                                "multipleOf",
                                "patternProperties",
                                "uniqueItems",
                                "$ref",
                                "allOf",
                                "anyOf",
                                "oneOf"};

constexpr std::array kTypes = {"null", "boolean", "integer", "number", "string", "array", "object"};

bool Contains(const Json& list, const Json& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

Json AsList(const Json& value) { return value.is_array() ? value : Json::array({value}); }

// Types that both lists allow; integer is a kind of number.
Json CommonTypes(const Json& a, const Json& b) {
  Json result = Json::array();
  const auto add = [&](const Json& from, const Json& other) {
    for (const Json& type : from) {
      const bool common = Contains(other, type) || (type == "integer" && Contains(other, "number"));
      if (common && !Contains(result, type)) result.push_back(type);
    }
  };
  add(a, b);
  add(b, a);
  return result;
}

Status MergeProperties(const Json& from, Json* into) {
  if (!from.is_object() || !into->is_object()) return {};  // those that read them say so
  for (const auto& [name, schema] : from.items()) {
    if (!into->contains(name)) {
      (*into)[name] = schema;
    } else if ((*into)[name] != schema) {
      (*into)[name] = {{"allOf", Json::array({(*into)[name], schema})}};
    }
  }
  return {};
}

// The names that a schema of objects speaks of.
std::unordered_set<std::string> NamesOf(const Json& schema, bool required_too) {
  std::unordered_set<std::string> names;
  if (schema.contains("properties") && schema["properties"].is_object()) {
    for (const auto& [name, value] : schema["properties"].items()) names.insert(name);
  }
  if (required_too && schema.contains("required") && schema["required"].is_array()) {
    for (const Json& name : schema["required"]) {
      if (name.is_string()) names.insert(name.get<std::string>());
    }
  }
  return names;
}

// Whether `schema` says something about the members that only `other` names.
bool Concerns(const Json& schema, const Json& other) {
  if (!schema.contains("additionalProperties") || schema["additionalProperties"] == true) {
    return false;
  }
  const std::unordered_set<std::string> own = NamesOf(schema, /*required_too=*/false);
  const std::unordered_set<std::string> others = NamesOf(other, /*required_too=*/true);
  return std::any_of(others.begin(), others.end(),
                     [&](const std::string& name) { return !own.contains(name); });
}

}  // namespace

Status CheckTogether(const Json& part, const Json& base) {
  const auto refuse = [](const char* keyword) {
    return Unsupported(std::string("has '") + keyword +
                       "' that concerns what another part of the schema names (by allOf, anyOf or "
                       "$ref with keywords beside it); write one schema of them.");
  };
  if (Concerns(part, base) || Concerns(base, part)) return refuse("additionalProperties");
  for (const auto& [one, other] : {std::pair(&part, &base), std::pair(&base, &part)}) {
    if (one->contains("items") && other->contains("prefixItems") && !one->contains("prefixItems")) {
      return refuse("items");
    }
    const bool closed =
        one->contains("additionalProperties") && (*one)["additionalProperties"] != true;
    if (closed && other->contains("patternProperties") && !one->contains("patternProperties")) {
      return refuse("additionalProperties");
    }
  }
  return {};
}

bool IsAnnotation(const std::string& keyword) {
  return std::find(kAnnotations.begin(), kAnnotations.end(), keyword) != kAnnotations.end();
}

bool IsServed(const std::string& keyword) {
  return std::find(kServed.begin(), kServed.end(), keyword) != kServed.end();
}

bool IsUnserved(const std::string& keyword, const Json& value) {
  if (keyword == "unevaluatedItems" && value == true) return false;
  return std::find(kUnserved.begin(), kUnserved.end(), keyword) != kUnserved.end();
}

Status MergeKeyword(const std::string& keyword, const Json& value, Json* base) {
  if (!base->contains(keyword)) {
    (*base)[keyword] = value;
    return {};
  }
  Json& own = (*base)[keyword];
  if (own == value) return {};
  if (keyword == "properties") return MergeProperties(value, &own);
  if (keyword == "required" && own.is_array() && value.is_array()) {
    for (const Json& name : value) {
      if (!Contains(own, name)) own.push_back(name);
    }
    return {};
  }
  if (keyword == "type") {
    own = CommonTypes(AsList(own), AsList(value));
    return {};
  }
  if (keyword == "enum" && own.is_array() && value.is_array()) {
    Json common = Json::array();
    for (const Json& entry : own) {
      if (Contains(value, entry)) common.push_back(entry);
    }
    own = std::move(common);
    return {};
  }
  if (keyword == "items" && !own.is_array() && !value.is_array()) {
    own = {{"allOf", Json::array({own, value})}};
    return {};
  }
  if (own.is_number() && value.is_number()) {
    const bool is_lower = keyword.starts_with("min") || keyword == "exclusiveMinimum";
    const bool is_upper = keyword.starts_with("max") || keyword == "exclusiveMaximum";
    if (is_lower || is_upper) {
      own = is_lower ? std::max(own, value) : std::min(own, value);
      return {};
    }
  }
  return Unsupported("has the keyword '" + keyword +
                     "' with different values that hold at the same time (by allOf, anyOf or "
                     "$ref with keywords beside it); write one schema of them.");
}

bool HasType(const Json& value, const std::string& type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_boolean();
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  if (type == "string") return value.is_string();
  if (type == "array") return value.is_array();
  return type == "object" && value.is_object();
}

Result<std::vector<std::string>> TypesOf(const Json& schema) {
  std::vector<std::string> types;
  if (!schema.contains("type")) return types;
  for (const Json& type : AsList(schema["type"])) {
    if (std::find(kTypes.begin(), kTypes.end(), type) == kTypes.end()) {
      return InvalidArgument(
          "has a type that does not exist; types are null, boolean, integer, number, string, "
          "array, object and lists of them.");
    }
    const std::string name = type.get<std::string>();
    if (std::find(types.begin(), types.end(), name) == types.end()) types.push_back(name);
  }
  return types;
}

int64_t CostOf(const Json& value) {
  constexpr size_t kBytesPerUnit = 32;
  int64_t cost = 1;
  if (value.is_string()) {
    cost += static_cast<int64_t>(value.get_ref<const std::string&>().size() / kBytesPerUnit);
  } else if (value.is_object()) {
    for (const auto& [name, inner] : value.items()) {
      cost += static_cast<int64_t>(name.size() / kBytesPerUnit) + CostOf(inner);
    }
  } else if (value.is_array()) {
    for (const Json& inner : value) cost += CostOf(inner);
  }
  return cost;
}

int64_t CostOfCheck(const Json& part, const Json& base) {
  int64_t cost = 1;
  for (const Json* schema : {&part, &base}) {
    for (const char* keyword : {"properties", "required"}) {
      const auto found = schema->find(keyword);
      if (found != schema->end()) cost += static_cast<int64_t>(found->size());
    }
  }
  return cost;
}

// Lists and members are searched one by one.
int64_t CostOfMerge(const std::string& keyword, const Json& value, const Json& base) {
  constexpr int64_t kComparedPerUnit = 8;
  const auto own = base.find(keyword);
  const int64_t cost = CostOf(value);
  if (own == base.end() || !own->is_structured()) return cost;
  return cost + static_cast<int64_t>(own->size()) *
                    (own->is_array() ? cost : static_cast<int64_t>(value.size())) /
                    kComparedPerUnit;
}

}  // namespace tessera::grammar
