#include "grammar/json_schema.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "grammar/json_text.h"
#include "grammar/multiple_of.h"
#include "grammar/number_range.h"
#include "grammar/regex.h"
#include "grammar/schema_merge.h"
#include "grammar/string_format.h"

namespace tessera::grammar {
namespace {

constexpr int kMaxDepth = 100;
constexpr int64_t kWorkPerValue = 4;  // of a pool, for a JSON value that is looked at and copied
constexpr size_t kMaxNameBytes = 512;
constexpr size_t kMaxPointerBytes = 1024;
constexpr size_t kMaxUnique = 8;  // values of which a list has none twice
constexpr int32_t kMaxCount = 1'000'000'000;

// Keywords that say something about one kind of value only.
struct TypeKeywords {
  const char* type;
  std::vector<std::string_view> keywords;
};

const std::array<TypeKeywords, 4>& KeywordsByType() {
  static const std::array<TypeKeywords, 4> table = {{
      {"object",
       {"properties", "required", "additionalProperties", "minProperties", "maxProperties",
        "unevaluatedProperties", "patternProperties"}},
      {"array", {"items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems"}},
      {"string", {"pattern", "minLength", "maxLength", "format"}},
      {"number", {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}},
  }};
  return table;
}

std::string Text(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

class SchemaCompiler {
 public:
  SchemaCompiler(const Json& root, ExpressionPool* pool) : root_(root), pool_(pool), text_(pool) {}

  Result<ExprId> Compile() {
    TESSERA_ASSIGN_OR_RETURN(const ExprId body, Value(root_, "#", 0));
    // Rules are compiled after what refers to them: they may refer to themselves.
    while (!queue_.empty()) {
      const Reference reference = std::move(queue_.front());
      queue_.pop_front();
      TESSERA_ASSIGN_OR_RETURN(const Json* target, Resolve(reference.pointer));
      TESSERA_ASSIGN_OR_RETURN(const ExprId rule_body, Value(*target, reference.pointer, 0));
      pool_->DefineRule(reference.rule, rule_body);
    }
    return body;
  }

 private:
  struct Reference {
    std::string pointer;
    ExprId rule;
  };
  // A schema without references and combinations: `base`, and one of each of the lists besides.
  struct Flat {
    Json base = Json::object();
    std::vector<Json> choices;
    bool impossible = false;
  };

  static Error Wrong(const std::string& path, const std::string& what,
                     ErrorCode code = ErrorCode::kInvalidArgument) {
    return {code, "The JSON schema at " + path.substr(0, 200) + " " + what};
  }

  static Error Unserved(const std::string& path, const std::string& keyword,
                        const std::string& advice) {
    return Wrong(path,
                 "has the keyword '" + keyword + "', which no constraint can be made of here; " +
                     advice + ".",
                 ErrorCode::kUnsupported);
  }

  Status Spend(int64_t cost, const std::string& path) {
    if (pool_->Spend(cost * kWorkPerValue)) return {};
    return Wrong(path, "makes the whole too large; use a smaller schema, with fewer combinations.");
  }

  Result<const Json*> Resolve(const std::string& pointer) {
    const Json* found = nullptr;
    if (pointer.starts_with('#') && pointer.size() <= kMaxPointerBytes) {
      found = Find(pointer.substr(1));
    }
    if (found != nullptr) return found;
    return Wrong("#", "has the $ref " + Text(pointer).substr(0, 200) +
                          ", but nothing is there; references are JSON pointers within the "
                          "schema, as #/$defs/name.");
  }

  // What a JSON pointer leads to, or null. Each step is a search among the members, which is made
  // once for all pointers that begin with it.
  const Json* Find(const std::string& pointer) {
    if (pointer.empty()) return &root_;
    const auto known = targets_.find(pointer);
    if (known != targets_.end()) return known->second;
    const Json* target = nullptr;
    const size_t slash = pointer.rfind('/');
    const Json* parent = slash == std::string::npos ? nullptr : Find(pointer.substr(0, slash));
    if (parent != nullptr && pool_->Spend(1 + static_cast<int64_t>(parent->size()) / 4)) {
      try {
        const Json::json_pointer step(pointer.substr(slash));
        if (parent->contains(step)) target = &parent->at(step);
      } catch (const Json::exception&) {
        target = nullptr;  // no pointer
      }
    }
    targets_.emplace(pointer, target);
    return target;
  }

  Result<ExprId> RuleOf(const std::string& pointer) {
    const auto found = rules_.find(pointer);
    if (found != rules_.end()) return found->second;
    TESSERA_RETURN_IF_ERROR(Resolve(pointer).ok() ? Status() : Resolve(pointer).error());
    const ExprId rule = pool_->DeclareRule();
    rules_.emplace(pointer, rule);
    queue_.push_back({pointer, rule});
    return rule;
  }

  Result<ExprId> Value(const Json& schema, const std::string& path, int depth) {
    if (depth > kMaxDepth) return Wrong(path, "is nested too deeply.");
    TESSERA_RETURN_IF_ERROR(Spend(1, path));
    if (schema.is_object() && schema.contains("$ref") && schema["$ref"].is_string() &&
        std::all_of(schema.items().begin(), schema.items().end(), [](const auto& item) {
          return item.key() == "$ref" || IsAnnotation(item.key());
        })) {
      return RuleOf(schema["$ref"].get<std::string>());
    }
    Flat flat;
    TESSERA_RETURN_IF_ERROR(Flatten(schema, path, depth, &flat));
    if (flat.impossible) return kNothing;
    if (!flat.choices.empty()) return Choices(std::move(flat), path, depth);
    return Base(flat.base, path, depth);
  }

  Status Flatten(const Json& schema, const std::string& path, int depth, Flat* flat) {
    if (depth > kMaxDepth) {
      return Wrong(path, "is nested too deeply, or its references lead in a circle.");
    }
    if (schema.is_boolean()) {
      flat->impossible |= !schema.get<bool>();
      return {};
    }
    if (!schema.is_object()) return Wrong(path, "must be an object, true or false.");
    TESSERA_RETURN_IF_ERROR(Spend(1 + static_cast<int64_t>(schema.size()), path));
    bool checked = flat->base.empty();  // whether this schema goes together with those before it
    for (const auto& [keyword, value] : schema.items()) {
      if (IsAnnotation(keyword) || (keyword == "uniqueItems" && value == false)) continue;
      if (IsUnserved(keyword, value)) return Unserved(path, keyword, "leave it out");
      if (keyword == "$ref") {
        if (!value.is_string()) return Wrong(path, "has a $ref that is no string.");
        TESSERA_ASSIGN_OR_RETURN(const Json* target, Resolve(value.get<std::string>()));
        TESSERA_RETURN_IF_ERROR(Flatten(*target, value.get<std::string>(), depth + 1, flat));
        checked = false;
      } else if (keyword == "allOf" || keyword == "anyOf" || keyword == "oneOf") {
        if (!value.is_array() || value.empty()) {
          return Wrong(path, "has " + keyword + " that is no list of schemas.");
        }
        if (keyword != "allOf") {
          TESSERA_RETURN_IF_ERROR(Spend(CostOf(value), path));
          flat->choices.push_back(value);
          continue;
        }
        for (const Json& part : value) {
          TESSERA_RETURN_IF_ERROR(Flatten(part, path + "/allOf", depth + 1, flat));
        }
        checked = false;
      } else if (IsServed(keyword)) {
        if (!checked) {
          TESSERA_RETURN_IF_ERROR(Spend(CostOfCheck(schema, flat->base), path));
          if (Status together = CheckTogether(schema, flat->base); !together.ok()) {
            return Wrong(path, together.error().message, together.error().code);
          }
          checked = true;
        }
        TESSERA_RETURN_IF_ERROR(Spend(CostOfMerge(keyword, value, flat->base), path));
        if (Status merged = MergeKeyword(keyword, value, &flat->base); !merged.ok()) {
          return Wrong(path, merged.error().message, merged.error().code);
        }
      }
    }
    return {};
  }

  // What holds in any case is merged into every choice.
  Result<ExprId> Choices(Flat flat, const std::string& path, int depth) {
    const Json first = std::move(flat.choices.front());
    Json rest = Json::array();
    if (!flat.base.empty()) rest.push_back(flat.base);
    for (size_t i = 1; i < flat.choices.size(); ++i) rest.push_back({{"anyOf", flat.choices[i]}});
    const int64_t cost = CostOf(rest);
    std::vector<ExprId> out;
    for (size_t i = 0; i < first.size(); ++i) {
      const std::string inner = path + "/anyOf/" + std::to_string(i);
      TESSERA_RETURN_IF_ERROR(Spend(cost + CostOf(first[i]), path));
      if (rest.empty()) {
        TESSERA_ASSIGN_OR_RETURN(const ExprId one, Value(first[i], inner, depth + 1));
        out.push_back(one);
        continue;
      }
      Json all = rest;
      all.push_back(first[i]);
      TESSERA_ASSIGN_OR_RETURN(const ExprId one, Value({{"allOf", all}}, inner, depth + 1));
      out.push_back(one);
    }
    return pool_->Alternatives(std::move(out));
  }

  Result<ExprId> Base(const Json& schema, const std::string& path, int depth) {
    auto named = TypesOf(schema);
    if (!named.ok()) return Wrong(path, named.error().message);
    std::vector<std::string> types = std::move(named).value();
    if (schema.contains("const") || schema.contains("enum")) return Constants(schema, types, path);
    if (schema.contains("type") && types.empty()) return kNothing;  // types that exclude each other
    if (types.empty()) {
      for (const TypeKeywords& entry : KeywordsByType()) {
        if (HasAny(schema, entry)) types.emplace_back(entry.type);
      }
    }
    if (types.empty()) return text_.Any();
    std::vector<ExprId> out;
    for (const std::string& type : types) {
      TESSERA_ASSIGN_OR_RETURN(const ExprId one, OfType(type, schema, path, depth));
      out.push_back(one);
    }
    return pool_->Alternatives(std::move(out));
  }

  static bool HasAny(const Json& schema, const TypeKeywords& entry) {
    return std::any_of(entry.keywords.begin(), entry.keywords.end(),
                       [&](std::string_view keyword) { return schema.contains(keyword); });
  }

  Result<ExprId> OfType(const std::string& type, const Json& schema, const std::string& path,
                        int depth) {
    if (type == "null") return pool_->Literal("null");
    if (type == "boolean") {
      return pool_->Alternatives({pool_->Literal("true"), pool_->Literal("false")});
    }
    if (type == "string") return String(schema, path);
    if (type == "array") return Array(schema, path, depth);
    if (type == "object") return Object(schema, path, depth);
    return Number(schema, type == "integer", path);
  }

  Result<ExprId> Constants(const Json& schema, const std::vector<std::string>& types,
                           const std::string& path) {
    TESSERA_ASSIGN_OR_RETURN(const std::vector<Json> values, ValuesOf(schema, types, path));
    std::vector<std::string> texts;
    for (const Json& value : values) texts.push_back(Text(value));
    return pool_->OneOfTexts(std::move(texts));
  }

  // What `const` and `enum` leave.
  Result<std::vector<Json>> ValuesOf(const Json& schema, const std::vector<std::string>& types,
                                     const std::string& path) {
    Json values = schema.value("enum", Json::array({schema.value("const", Json())}));
    if (!values.is_array()) return Wrong(path, "has an enum that is no list.");
    for (const TypeKeywords& entry : KeywordsByType()) {
      if (!HasAny(schema, entry)) continue;
      const bool concerned = std::any_of(values.begin(), values.end(), [&](const Json& value) {
        return HasType(value, entry.type);
      });
      if (concerned) {
        return Wrong(path, std::string("has const or enum together with further keywords for a "
                                       "value of type ") +
                               entry.type + "; keep one of them.");
      }
    }
    std::vector<Json> left;
    for (const Json& value : values) {
      const bool typed = types.empty() || std::any_of(types.begin(), types.end(), [&](auto& type) {
                           return HasType(value, type);
                         });
      if (!typed || (schema.contains("const") && schema["const"] != value)) continue;
      left.push_back(value);
    }
    return left;
  }

  // A count, as minLength; `otherwise` if it is absent.
  Result<int32_t> Count(const Json& schema, const char* name, int32_t otherwise,
                        const std::string& path) {
    if (!schema.contains(name)) return otherwise;
    const Json& value = schema[name];
    const double number = value.is_number() ? value.get<double>() : -1;
    if (!(number >= 0) || number != static_cast<double>(static_cast<int64_t>(
                                        std::min(number, static_cast<double>(kMaxCount))))) {
      if (!(number > kMaxCount)) {
        return Wrong(path, std::string("has ") + name + " that is no integer of at least 0.");
      }
    }
    return static_cast<int32_t>(std::min(number, static_cast<double>(kMaxCount)));
  }

  struct Counts {
    int32_t min, max;
    bool impossible() const { return max != kUnbounded && max < min; }
  };
  Result<Counts> CountsOf(const Json& schema, const char* low, const char* high,
                          const std::string& path) {
    TESSERA_ASSIGN_OR_RETURN(const int32_t min, Count(schema, low, 0, path));
    TESSERA_ASSIGN_OR_RETURN(const int32_t max, Count(schema, high, kUnbounded, path));
    return Counts{min, max};
  }

  Result<ExprId> String(const Json& schema, const std::string& path) {
    TESSERA_ASSIGN_OR_RETURN(const Counts counts, CountsOf(schema, "minLength", "maxLength", path));
    if (counts.impossible()) return kNothing;
    std::optional<ExprId> inner;
    const auto restrict_to = [&](ExprId other) {
      inner = inner ? pool_->Both(*inner, other) : other;
    };
    if (schema.contains("pattern")) {
      if (!schema["pattern"].is_string()) return Wrong(path, "has a pattern that is no string.");
      auto pattern = ParseRegex(schema["pattern"].get<std::string>(), RegexMatch::kSomewhere,
                                TextForm::kJsonString, pool_);
      if (!pattern.ok()) {
        return Wrong(path, "has a pattern that " + pattern.error().message, pattern.error().code);
      }
      restrict_to(*pattern);
    }
    const Json format = schema.value("format", Json());
    const char* known = format.is_string() ? PatternOfFormat(format.get<std::string>()) : nullptr;
    if (known != nullptr) {
      TESSERA_ASSIGN_OR_RETURN(const ExprId text,
                               ParseRegex(known, RegexMatch::kWhole, TextForm::kJsonString, pool_));
      restrict_to(text);
    }
    if (!inner) return text_.String(counts.min, counts.max);
    if (counts.min == 0 && counts.max == kUnbounded) return text_.Quoted(*inner);
    return text_.Quoted(pool_->Both(*inner, text_.Characters(counts.min, counts.max)));
  }

  Result<ExprId> Number(const Json& schema, bool integer, const std::string& path) {
    NumberRange range;
    range.integer = integer;
    for (const char* name : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}) {
      if (!schema.contains(name)) continue;
      if (!schema[name].is_number()) {
        return Wrong(path, std::string("has ") + name + " that is no number.");
      }
      const bool excluded = std::string_view(name).starts_with("exclusive");
      const bool low = std::string_view(name).ends_with("inimum");
      const NumberBound bound = {schema[name].get<double>(), excluded};
      std::optional<NumberBound>& own = low ? range.low : range.high;
      const bool nearer = !own || (low ? bound.value >= own->value : bound.value <= own->value);
      if (nearer) own = bound;
    }
    auto number = NumberExpression(range, pool_);
    if (!number.ok()) return Wrong(path, number.error().message, number.error().code);
    if (!schema.contains("multipleOf")) return *number;
    const Json& step = schema["multipleOf"];
    const double value = step.is_number() ? step.get<double>() : -1;
    const auto [known, is_new] = multiples_.try_emplace(value, kNothing);
    if (is_new) {
      auto multiples = MultiplesOf(value, pool_);
      if (!multiples.ok()) return Wrong(path, multiples.error().message, multiples.error().code);
      known->second = *multiples;
    }
    return pool_->Both(*number, known->second);
  }

  Result<ExprId> Array(const Json& schema, const std::string& path, int depth) {
    TESSERA_ASSIGN_OR_RETURN(const Counts counts, CountsOf(schema, "minItems", "maxItems", path));
    if (counts.impossible()) return kNothing;
    if (schema.contains("uniqueItems") && (counts.max == kUnbounded || counts.max > 1)) {
      return Distinct(schema, counts, path, depth);
    }
    // Before draft 2020-12, prefixItems were written as a list of items.
    const bool old_form = schema.contains("items") && schema["items"].is_array();
    const Json prefix = old_form ? schema["items"] : schema.value("prefixItems", Json::array());
    if (!prefix.is_array()) return Wrong(path, "has prefixItems that is no list.");
    const char* rest_name = old_form ? "additionalItems" : "items";
    ExprId item = kNothing;
    if (schema.contains(rest_name)) {
      TESSERA_ASSIGN_OR_RETURN(
          item, Value(schema[rest_name], path + "/" + std::string(rest_name), depth + 1));
    } else if (prefix.empty() || counts.min > static_cast<int32_t>(prefix.size())) {
      item = text_.Any();
    }
    if (prefix.empty()) return text_.List(item, counts.min, counts.max);
    const int32_t named = static_cast<int32_t>(prefix.size());
    const auto beyond = [&](int32_t count) {
      return count == kUnbounded ? kUnbounded : std::max(count - named, 0);
    };
    ExprId rest =
        pool_->Repeat(pool_->Concat(text_.Comma(), item), beyond(counts.min), beyond(counts.max));
    for (int32_t i = named; i-- > 0;) {
      const std::string inner = path + "/prefixItems/" + std::to_string(i);
      TESSERA_ASSIGN_OR_RETURN(const ExprId one,
                               Value(prefix[static_cast<size_t>(i)], inner, depth + 1));
      rest = pool_->Sequence({i > 0 ? text_.Comma() : kEmpty, one, rest});
      if (counts.max != kUnbounded && i >= counts.max) rest = kEmpty;
      if (i >= counts.min) rest = pool_->Optional(rest);
    }
    return text_.InBrackets('[', rest, ']');
  }

  // A list of constants with none of them twice: what may follow depends on those that have come.
  Result<ExprId> Distinct(const Json& schema, const Counts& counts, const std::string& path,
                          int depth) {
    const auto refuse = [&] {
      return Unserved(path, "uniqueItems",
                      "leave it out, or let items be an enum of up to " +
                          std::to_string(kMaxUnique) + " values");
    };
    if (schema["uniqueItems"] != true || !schema.contains("items") ||
        schema.contains("prefixItems")) {
      return refuse();
    }
    Flat flat;
    const std::string inner = path + "/items";
    TESSERA_RETURN_IF_ERROR(Flatten(schema["items"], inner, depth + 1, &flat));
    const bool constant = flat.base.contains("const") || flat.base.contains("enum");
    if (!constant || flat.impossible || !flat.choices.empty()) return refuse();
    auto types = TypesOf(flat.base);
    if (!types.ok()) return Wrong(inner, types.error().message);
    TESSERA_ASSIGN_OR_RETURN(std::vector<Json> values, ValuesOf(flat.base, *types, inner));
    if (values.size() > kMaxUnique) return refuse();
    std::vector<ExprId> texts;
    for (size_t i = 0; i < values.size(); ++i) {
      const auto before = values.begin() + static_cast<int64_t>(i);
      if (std::find(values.begin(), before, values[i]) == before) {
        texts.push_back(pool_->Literal(Text(values[i])));
      }
    }
    return text_.ListOfDistinct(texts, counts.min, counts.max);
  }

  struct Property {
    std::string name;
    ExprId value;
    bool required;
  };

  Result<ExprId> Object(const Json& schema, const std::string& path, int depth) {
    ExprId additional = kNothing;
    const bool allows_others = schema.contains("additionalProperties");
    const Json& properties = schema.contains("properties") ? schema["properties"] : NoProperties();
    const Json& required = schema.contains("required") ? schema["required"] : NoNames();
    if (!properties.is_object()) return Wrong(path, "has properties that is no object.");
    if (!required.is_array()) return Wrong(path, "has required that is no list.");
    if (schema.contains("patternProperties")) return NamedByPattern(schema, path, depth);
    if (allows_others) {
      TESSERA_ASSIGN_OR_RETURN(additional, Value(schema["additionalProperties"],
                                                 path + "/additionalProperties", depth + 1));
    } else if (properties.empty() && schema.value("unevaluatedProperties", Json()) != false) {
      additional = text_.Any();
    }
    const auto check_name = [&](const std::string& name) -> Status {
      if (name.size() <= kMaxNameBytes) return {};
      return Wrong(path, "has a property whose name is longer than " +
                             std::to_string(kMaxNameBytes) + " bytes.");
    };
    std::unordered_set<std::string> needed;
    for (const Json& name : required) {
      if (!name.is_string()) return Wrong(path, "has a name in required that is no string.");
      TESSERA_RETURN_IF_ERROR(check_name(name.get_ref<const std::string&>()));
      needed.insert(name.get<std::string>());
    }
    std::vector<Property> members;
    for (const auto& [name, value] : properties.items()) {
      TESSERA_RETURN_IF_ERROR(check_name(name));
      TESSERA_ASSIGN_OR_RETURN(const ExprId one,
                               Value(value, path + "/properties/" + name, depth + 1));
      members.push_back({name, one, needed.erase(name) > 0});
    }
    for (const Json& entry : required) {
      const std::string name = entry.get<std::string>();
      if (needed.erase(name) == 0) continue;  // among the properties, or named before
      members.push_back({name, allows_others ? additional : text_.Any(), true});
    }
    TESSERA_RETURN_IF_ERROR(CheckMemberCounts(schema, members, additional, path));
    return text_.InBrackets('{', Members(members, additional), '}');
  }

  // Members whose names one pattern gives, and no others.
  Result<ExprId> NamedByPattern(const Json& schema, const std::string& path, int depth) {
    const Json& patterns = schema["patternProperties"];
    const bool alone = (!schema.contains("properties") || schema["properties"].empty()) &&
                       (!schema.contains("required") || schema["required"].empty()) &&
                       schema.value("additionalProperties", Json(false)).is_boolean();
    if (!patterns.is_object() || patterns.size() != 1 || !alone) {
      return Unserved(path, "patternProperties",
                      "give one pattern, with neither properties nor required nor a schema of "
                      "additionalProperties beside it");
    }
    const auto entry = patterns.begin();
    auto name = ParseRegex(entry.key(), RegexMatch::kSomewhere, TextForm::kJsonString, pool_);
    if (!name.ok()) {
      return Wrong(path, "has a pattern in patternProperties that " + name.error().message,
                   name.error().code);
    }
    TESSERA_ASSIGN_OR_RETURN(const ExprId value,
                             Value(entry.value(), path + "/patternProperties", depth + 1));
    TESSERA_RETURN_IF_ERROR(CheckMemberCounts(schema, {}, value, path));
    const ExprId member = text_.Member(text_.Quoted(*name), value);
    const ExprId more = pool_->Repeat(pool_->Concat(text_.Comma(), member), 0, kUnbounded);
    return text_.InBrackets('{', pool_->Optional(pool_->Concat(member, more)), '}');
  }

  static const Json& NoProperties() {
    static const Json none = Json::object();
    return none;
  }
  static const Json& NoNames() {
    static const Json none = Json::array();
    return none;
  }

  // minProperties and maxProperties can be kept only if they say nothing new.
  Status CheckMemberCounts(const Json& schema, const std::vector<Property>& members,
                           ExprId additional, const std::string& path) {
    TESSERA_ASSIGN_OR_RETURN(const Counts counts,
                             CountsOf(schema, "minProperties", "maxProperties", path));
    const auto required = static_cast<int32_t>(std::count_if(
        members.begin(), members.end(), [](const Property& p) { return p.required; }));
    const bool too_many =
        counts.max != kUnbounded &&
        (additional != kNothing || static_cast<int32_t>(members.size()) > counts.max);
    if (counts.min <= required && !too_many) return {};
    return Wrong(path,
                 "has minProperties or maxProperties, which no constraint can be made of here; "
                 "name the properties, and which of them are required.",
                 ErrorCode::kUnsupported);
  }

  // Members in their order, from the last one to the first: what may follow when nothing has come
  // before, and when something has.
  ExprId Members(const std::vector<Property>& members, ExprId additional) {
    std::vector<std::string> names;
    for (const Property& member : members) names.push_back(member.name);
    const ExprId other = additional == kNothing
                             ? kNothing
                             : text_.Member(text_.NameExcept(std::move(names)), additional);
    ExprId later = pool_->Repeat(pool_->Concat(text_.Comma(), other), 0, kUnbounded);
    ExprId first = pool_->Optional(pool_->Concat(other, later));
    for (size_t i = members.size(); i-- > 0;) {
      const ExprId own = text_.Member(pool_->Literal(Text(members[i].name)), members[i].value);
      const ExprId with_own = pool_->Concat(own, later);
      const ExprId after_comma = pool_->Concat(text_.Comma(), with_own);
      first = members[i].required ? with_own : pool_->Alternatives({with_own, first});
      later = members[i].required ? after_comma : pool_->Alternatives({after_comma, later});
    }
    return first;
  }

  const Json& root_;
  ExpressionPool* const pool_;
  JsonText text_;
  std::map<std::string, ExprId> rules_;
  std::unordered_map<std::string, const Json*> targets_;  // by pointer; null: nothing is there
  std::map<double, ExprId> multiples_;                    // by multipleOf
  std::deque<Reference> queue_;
};

}  // namespace

Result<ExprId> AddJsonSchema(const Json& schema, ExpressionPool* pool) {
  return SchemaCompiler(schema, pool).Compile();
}

ExprId AddJsonObject(ExpressionPool* pool) { return JsonText(pool).AnyObject(); }

}  // namespace tessera::grammar
