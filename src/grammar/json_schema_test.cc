#include "grammar/json_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "grammar/constraint_spec.h"

namespace tessera {
namespace {

using grammar::Json;
using ::testing::HasSubstr;

Result<std::unique_ptr<grammar::Automaton>> Compile(const std::string& schema) {
  ConstraintSpec spec;
  spec.kind = ConstraintSpec::Kind::kJsonSchema;
  spec.schema = Json::parse(schema);
  return CompileConstraint(spec);
}

bool Accepts(grammar::Automaton* automaton, const std::string& text) {
  grammar::StateId state = automaton->start();
  for (const char c : text) state = automaton->Next(state, static_cast<uint8_t>(c));
  EXPECT_FALSE(automaton->overflowed());
  return state != grammar::kDead && automaton->MayEnd(state);
}

struct Case {
  const char* schema;
  std::vector<std::string> accepted;
  std::vector<std::string> refused;
};

TEST(JsonSchemaTest, TextsAndTheirSchemas) {
  const std::vector<Case> cases = {
      // Members in order, optional ones left out, white space bounded.
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "null"},
           "c": {"type": "boolean"}}, "required": ["b"]})",
       {R"({"b":null})", R"({"a": 1, "b": null})", "{\n  \"a\": 0,\n  \"b\": null\n}",
        R"({"b": null, "c": true})"},
       {"{}", R"({"a": 1})", R"({"b": null, "a": 1})", R"({"b": null, "d": 1})", R"({"b":  null})",
        R"( {"b": null})", R"({"b": null,})", R"({"b": null}x)", R"({"a": 01, "b": null})"}},
      // Members that are not named, but for those that are.
      {R"({"properties": {"ab": {"type": "integer"}}, "additionalProperties": {"type": "string"}})",
       {"{}", R"({"ab": 1})", R"({"a": "x"})", R"({"ab": 1, "abc": "", "b": "y"})", R"({"": ""})"},
       {R"({"ab": "x"})", R"({"a": 1})", R"({"a": "x", "ab": "y"})"}},
      // A definition that refers to itself.
      {R"({"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {"next":
           {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/n"}]}}, "required": ["next"]}}})",
       {R"({"next": null})", R"({"next": {"next": {"next": null}}})"},
       {R"({"next": {}})", R"({"next": {"next": null})"}},
      {R"({"type": "array", "items": {"$ref": "#"}})", {"[]", "[[], [[]]]"}, {"[1]", "[[]"}},
      {R"({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2})",
       {"[1]", "[1, 2]", "[\n  1,\n  2\n]"},
       {"[]", "[1,2,3]", "[1 ,2]"}},
      {R"({"prefixItems": [{"const": 1}, {"const": 2}], "items": {"const": 3}, "minItems": 1})",
       {"[1]", "[1,2]", "[1,2,3,3]"},
       {"[]", "[2]", "[1,3]"}},
      {R"({"prefixItems": [{"const": 1}], "maxItems": 0})", {"[]"}, {"[1]"}},
      // Strings: characters, not bytes; escapes.
      {R"({"type": "string", "minLength": 1, "maxLength": 2})",
       {R"("a")", "\"\u4e2d\u4e2d\"", R"("\n\u00e4")", R"("\ud83d\ude00x")",
        "\"\xf0\x9f\x98\x80\""},
       {R"("")", R"("abc")", "\"\xff\"", "\"\n\"", R"("\ud83d")", R"("\x")", "\"\xc0\x80\"",
        "\"\xed\xa0\x80\""}},
      {R"({"type": "string", "pattern": "^a+\"$", "maxLength": 3})",
       {R"("a\"")", R"("aa\"")"},
       {R"("aaa\"")", R"("a")", "\"a\"\""}},
      {R"({"type": "string", "pattern": "b"})", {R"("b")", R"("abc")"}, {R"("ac")"}},
      {R"({"type": "string", "format": "date"})",
       {R"("2024-02-28")", R"("1999-12-31")"},
       {R"("2023-02-30")", R"("2024-13-01")", R"("24-01-01")"}},
      {R"({"type": "string", "format": "who-knows"})", {R"("x")"}, {"1"}},
      // Numbers.
      {R"({"type": "integer", "minimum": -12, "maximum": 305})",
       {"-12", "-9", "0", "7", "99", "300", "305"},
       {"-13", "306", "310", "400", "1000", "-0", "1.0", "1e2"}},
      {R"({"type": "number", "exclusiveMinimum": 0, "maximum": 2.5})",
       {"0.1", "0.001", "1", "2.5", "2.500", "2.49"},
       {"0", "0.0", "2.51", "3", "-1", "2.6", "1e0"}},
      {R"({"type": "number", "minimum": -1.5, "exclusiveMaximum": -1})",
       {"-1.5", "-1.25", "-1.01"},
       {"-1", "-1.0", "-1.51", "-2", "0", "1.2"}},
      {R"({"type": "number"})", {"-0", "1.5e-3", "12", "1E+10"}, {"+1", ".5", "1.", "1e999", "00"}},
      // Values.
      {R"({"enum": ["a b", 1.5, null, {"x": [1, "y"]}]})",
       {R"("a b")", "1.5", "null", R"({"x":[1,"y"]})"},
       {"1.50", R"({"x": 1})"}},
      {R"({"type": "string", "enum": ["a", 1]})", {R"("a")"}, {"1"}},
      {R"({"enum": [1, 2, 3], "const": 2})", {"2"}, {"1", "3"}},
      {R"({"type": ["integer", "null"], "minimum": 3})", {"3", "null"}, {"2", "true"}},
      {"true", {"1", R"([{"a": []}, "x"])"}, {"", "nul"}},
      {"{}", {"1", "{}"}, {"{1}"}},
      // A bound that is rounded to zero from below.
      {R"({"type": "integer", "minimum": -0.5, "maximum": 2})", {"0", "1", "2"}, {"3", "-1"}},
      {R"({"type": "number", "minimum": -0.0, "maximum": 1})", {"0", "0.5", "1"}, {"-1", "2"}},
      // Multiples, lists of different values, names by a pattern.
      {R"({"type": "integer", "multipleOf": 3})",
       {"0", "3", "-12", "111111", "999999999999999999"},
       {"1", "-10", "3.0", "03", "3e1", "1000"}},
      {R"({"type": "integer", "multipleOf": 250, "minimum": 600, "maximum": 1100})",
       {"750", "1000"},
       {"500", "700", "1250", "0"}},
      {R"({"type": "number", "multipleOf": 0.25, "minimum": -1})",
       {"0", "0.5", "12.75", "-0.25", "3", "0.50", "7.0"},
       {"0.2", "0.255", "-1.25", "1e2", "1.1", ".25"}},
      {R"({"type": "integer", "multipleOf": 0.5})", {"1", "7"}, {"0.5"}},
      {R"({"type": "number", "multipleOf": 0.001})", {"1.001", "5", "0.1"}, {"0.0001"}},
      {R"({"type": "array", "uniqueItems": true, "minItems": 1, "maxItems": 2,
           "items": {"$ref": "#/$defs/e"}, "$defs": {"e": {"enum": ["a", "b", 1, 1.0]}}})",
       {R"(["a"])", R"(["b", "a"])", R"([1, "b"])"},
       {"[]", R"(["a", "a"])", R"(["a", "b", 1])", "[1, 1.0]"}},
      {R"({"uniqueItems": true, "items": {"enum": [1, 2, 3]}})",
       {"[]", "[3,1,2]"},
       {"[1,1]", "[1,2,3,1]"}},
      {R"({"type": "array", "uniqueItems": true, "maxItems": 1})", {"[]", "[{}]"}, {"[1,2]"}},
      {R"({"type": "array", "uniqueItems": false, "items": {"const": 1}})", {"[1, 1]"}, {"[2]"}},
      {R"({"patternProperties": {"^x-[a-z]+$": {"type": "integer"}},
           "additionalProperties": false})",
       {"{}", R"({"x-a": 1})", R"({"x-a": 1, "x-bc": 2})"},
       {R"({"x-": 1})", R"({"y": 1})", R"({"x-a": "1"})", R"({"x-A": 1})"}},
      // Combinations.
      {R"({"allOf": [{"type": ["number", "null"]}, {"type": "integer", "minimum": 2},
           {"maximum": 3}]})",
       {"2", "3"},
       {"1", "4", "null", "2.5"}},
      {R"({"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k"],
           "oneOf": [{"properties": {"k": {"const": "a"}, "x": {"type": "null"}}},
                     {"properties": {"k": {"const": "b"}}}]})",
       {R"({"k": "a"})", R"({"k": "a", "x": null})", R"({"k": "b"})"},
       {R"({"k": "c"})", R"({"k": "b", "x": null})"}},
      {R"({"anyOf": [false, {"type": "string", "maxLength": 0}]})", {R"("")"}, {"1"}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.schema);
    auto automaton = Compile(c.schema);
    ASSERT_TRUE(automaton.ok()) << automaton.error().message;
    for (const std::string& text : c.accepted) EXPECT_TRUE(Accepts(automaton->get(), text)) << text;
    for (const std::string& text : c.refused) EXPECT_FALSE(Accepts(automaton->get(), text)) << text;
  }
}

TEST(JsonSchemaTest, RefusesByName) {
  struct Refusal {
    const char* schema;
    const char* part;
  };
  const std::vector<Refusal> refusals = {
      {R"({"not": {"type": "string"}})", "'not'"},
      {R"({"properties": {"a": {"type": "array", "uniqueItems": true}}})", "'uniqueItems'"},
      {R"({"type": "array", "uniqueItems": true, "items": {"type": "integer"}})", "'uniqueItems'"},
      {R"({"uniqueItems": true, "items": {"enum": [1, 2, 3, 4, 5, 6, 7, 8, 9]}})", "'uniqueItems'"},
      {R"({"uniqueItems": true, "minItems": 3, "items": {"enum": [1, 2, 1]}})", "no finite text"},
      {R"({"properties": {"a": {"multipleOf": 1001}}})", "#/properties/a has multipleOf that"},
      {R"({"multipleOf": 0})", "no number above 0"},
      {R"({"multipleOf": "2"})", "no number above 0"},
      {R"({"multipleOf": 1e-9})", "multipleOf that no constraint"},
      {R"({"type": "integer", "multipleOf": 7, "minimum": 1, "maximum": 6})", "no finite text"},
      {R"({"patternProperties": {"a": {}, "b": {}}})", "'patternProperties'"},
      {R"({"patternProperties": {"a": {}}, "properties": {"b": {}}})", "'patternProperties'"},
      {R"({"patternProperties": {"a": {}}, "additionalProperties": {"type": "null"}})",
       "'patternProperties'"},
      {R"({"patternProperties": {"(": {}}})", "pattern in patternProperties that has"},
      {R"({"allOf": [{"patternProperties": {"a": {}}}, {"additionalProperties": false}]})",
       "'additionalProperties' that concerns"},
      {R"({"type": "object", "minProperties": 1})", "minProperties"},
      {R"({"type": "strong"})", "a type that does not exist"},
      {R"({"type": 3})", "a type that does not exist"},
      {R"({"$ref": "#/$defs/x"})", "nothing is there"},
      {R"({"$ref": "http://example.com/x"})", "JSON pointers within"},
      {R"({"$ref": "#"})", "in a circle"},
      {R"({"anyOf": [{"$ref": "#"}, {"type": "string"}]})", "in a circle"},
      {R"({"allOf": [{"$ref": "#"}], "type": "string"})", "in a circle"},
      {R"({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})",
       "no finite text"},
      {"false", "no finite text"},
      {R"({"enum": []})", "no finite text"},
      {R"({"type": "string", "pattern": "^a+$", "minLength": 3, "maxLength": 2})",
       "no finite text"},
      {R"({"type": "string", "pattern": "^(ab){3}$", "maxLength": 5})", "no finite text"},
      {R"({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2})", "no finite text"},
      {R"x({"type": "string", "pattern": "(?=a)"})x", "look-around"},
      {R"x({"type": "string", "pattern": "(a"})x", "without its ')'"},
      {R"({"type": "string", "pattern": 1})", "pattern that is no string"},
      {R"({"type": "string", "minLength": -1})", "minLength"},
      {R"({"type": "string", "maxLength": "x"})", "maxLength"},
      {R"({"type": "number", "maximum": 1e300})", "bounds can be"},
      {R"({"type": "number", "minimum": "1"})", "minimum that is no number"},
      {R"({"properties": []})", "properties that is no object"},
      {R"({"required": "a"})", "required that is no list"},
      {R"({"items": 3})", "must be an object, true or false"},
      {R"({"anyOf": []})", "anyOf that is no list"},
      {R"({"allOf": [{"pattern": "a"}, {"pattern": "b"}]})", "'pattern' with different values"},
      {R"({"allOf": [{"properties": {"a": {}}, "additionalProperties": false},
                     {"properties": {"b": {}}, "required": ["b"]}]})",
       "'additionalProperties' that concerns"},
      {R"({"allOf": [{"required": ["b"]},
                     {"properties": {"a": {}}, "additionalProperties": {"type": "integer"}}]})",
       "'additionalProperties' that concerns"},
      {R"({"$ref": "#/$defs/closed", "properties": {"b": {}},
           "$defs": {"closed": {"properties": {"a": {}}, "additionalProperties": false}}})",
       "'additionalProperties' that concerns"},
      {R"({"allOf": [{"prefixItems": [{"type": "string"}]}, {"items": {"type": "integer"}}]})",
       "'items' that concerns"},
      {R"({"enum": ["a"], "minLength": 2})", "together with further keywords"},
      {"3", "must be an object"},
      {R"({"type": "string", "pattern": "^(a|b)*a(a|b){900}$", "maxLength": 9000})",
       "too many states"},
  };
  for (const Refusal& refusal : refusals) {
    SCOPED_TRACE(refusal.schema);
    const auto automaton = Compile(refusal.schema);
    ASSERT_FALSE(automaton.ok());
    EXPECT_THAT(automaton.error().message, HasSubstr(refusal.part));
    EXPECT_EQ(automaton.error().message.back(), '.');
  }
}

// What would take for ever ends soon, with an answer or with a refusal.
TEST(JsonSchemaTest, LargeSchemasEndSoon) {
  std::string nested = "true";
  for (int i = 0; i < 2000; ++i) nested = R"({"items": )" + nested + "}";
  Json combined = {{"type", "string"}};
  for (int i = 0; i < 60; ++i) {
    Json next;
    next["anyOf"] = {{{"minLength", i}}, {{"maxLength", 1000 + i}}};
    next["allOf"] = Json::array({combined});
    combined = next;
  }
  Json wide = {{"type", "object"}};
  for (int i = 0; i < 5000; ++i) wide["properties"]["name" + std::to_string(i)] = true;
  Json chain;
  for (int i = 0; i < 5000; ++i) {
    chain["$defs"]["d" + std::to_string(i)] = {
        {"anyOf", {{{"$ref", "#/$defs/d" + std::to_string((i + 1) % 5000)}}, {{"type", "null"}}}}};
  }
  chain["$ref"] = "#/$defs/d0";
  const Json long_string = {{"type", "string"}, {"pattern", "x"}, {"maxLength", 1000000000}};
  for (const std::string& schema :
       std::vector<std::string>{nested, combined.dump(), wide.dump(), chain.dump(),
                                long_string.dump(), R"({"type":"string","minLength":1e18})"}) {
    SCOPED_TRACE(schema.substr(0, 60));
    const auto start = std::chrono::steady_clock::now();
    const auto automaton = Compile(schema);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    EXPECT_LT(taken.count(), 60);
    if (!automaton.ok()) {
      EXPECT_EQ(automaton.error().message.back(), '.');
    }
  }
}

}  // namespace
}  // namespace tessera
