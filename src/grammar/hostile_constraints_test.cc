// Constraints that are made to take long or much: compiling them, and each of their masks, ends
// soon, with an answer or with a refusal.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "grammar/constraint_spec.h"
#include "grammar/testing/vocabulary.h"
#include "grammar/token_grammar.h"

namespace tessera {
namespace {

using grammar::Json;
using grammar::TokenTrie;
using testing::LargeVocabulary;
using Clock = std::chrono::steady_clock;

struct Hostile {
  std::string name;
  ConstraintSpec spec;
};

std::string Times(int count, const std::function<std::string(int)>& part) {
  std::string text;
  for (int i = 0; i < count; ++i) text += part(i);
  return text;
}

std::string A(int count) { return std::string(static_cast<size_t>(count), 'a'); }

Hostile Pattern(std::string name, std::string pattern) {
  ConstraintSpec spec;
  spec.kind = ConstraintSpec::Kind::kRegex;
  spec.pattern = std::move(pattern);
  return {std::move(name), std::move(spec)};
}

Hostile Schema(std::string name, Json schema) {
  ConstraintSpec spec;
  spec.kind = ConstraintSpec::Kind::kJsonSchema;
  spec.schema = std::move(schema);
  return {std::move(name), std::move(spec)};
}

std::vector<Hostile> Patterns() {
  std::vector<Hostile> all;
  all.push_back(Pattern("nested counts", "((a{1,100}){1,100}){1,100}b"));
  all.push_back(Pattern("nested counts of alternatives", "((a|aa|aaa){1,99}){1,99}b"));
  all.push_back(Pattern("large counts", "((a{0,9999}){0,9999}){0,9999}"));
  all.push_back(Pattern("nested optional", "((((a?){50}){50}){50}){50}b"));
  all.push_back(Pattern("sums of lengths",
                        "(" + Times(60, [](int i) { return A(i + 1) + "|"; }) + "a{61})*b"));
  all.push_back(Pattern("the n-th letter from the end", "(a|b)*a(a|b){400}"));
  all.push_back(Pattern("many such", Times(40, [](int i) {
                                       return "(a|b)*a(a|b){" + std::to_string(300 + i) + "}|";
                                     }) + "c"));
  all.push_back(Pattern("counted words", "(\\w{1,50} ?){1,500}"));
  all.push_back(Pattern("counted anything", "(.{0,1000}a){1000}"));
  all.push_back(Pattern("many optional letters", Times(2000, [](int) { return "a?"; }) + "b"));
  all.push_back(Pattern("many stars", Times(4000, [](int) { return "a*"; }) + "b"));
  all.push_back(Pattern("stars of stars", Times(60, [](int) { return "("; }) + "a*" +
                                              Times(60, [](int) { return "a*)*"; })));
  all.push_back(Pattern("a wide class", "[" + Times(5000, [](int i) {
                                          std::string text;
                                          for (const unsigned b :
                                               {0xe4u,
                                                0x80u | ((static_cast<unsigned>(i) >> 5) & 0x3f),
                                                0x80u | ((static_cast<unsigned>(i) * 2) & 0x3f)}) {
                                            text += static_cast<char>(b);
                                          }
                                          return text;
                                        }) + "]{1,1000}"));
  all.push_back(Pattern("many negated classes", Times(3000, [](int i) {
                          return std::string("[^") + static_cast<char>('a' + i % 26) + "]?";
                        })));
  all.push_back(Pattern("many alternatives with any text",
                        Times(800, [](int i) { return ".*" + std::to_string(i) + ".*|"; }) + "x"));
  return all;
}

std::vector<Hostile> Strings() {
  std::vector<Hostile> all;
  const auto text = [&](const char* name, const std::string& pattern, int64_t most) {
    all.push_back(Schema(name, {{"type", "string"}, {"pattern", pattern}, {"maxLength", most}}));
  };
  text("a pattern anywhere in a long text", "a{3}b{3}c{3}", 10'000);
  text("a counted pattern in a long text", "^(a{1,50}b?){1,100}$", 5000);
  text("an ambiguous pattern in a long text", "(a|b)*a(a|b){12}", 100'000);
  text("the n-th letter in a long text", "^(a|b)*a(a|b){900}$", 9000);
  text("words in a long text", "(foo|bar|baz).*(qux|quux).*[0-9]{3,9}", 1'000'000);
  Json formats = {{"type", "object"}};
  for (int i = 0; i < 400; ++i) {
    formats["properties"]["p" + std::to_string(i)] = {
        {"type", "string"}, {"format", "uri"}, {"maxLength", 100 + i}};
  }
  all.push_back(Schema("many formats with lengths", formats));
  Json bounds = {{"type", "array"}};
  for (int i = 0; i < 2000; ++i) {
    bounds["prefixItems"].push_back(
        {{"type", "number"}, {"minimum", -i / 7.0}, {"maximum", i * 1.7e9}});
  }
  all.push_back(Schema("many bounds", bounds));
  Json equal_bounds = {{"type", "array"}};
  for (int i = 0; i < 8000; ++i) {
    equal_bounds["prefixItems"].push_back(
        {{"minimum", -0.1234567 * (i % 3)}, {"maximum", 98765.4321}});
  }
  all.push_back(Schema("the same bounds many times", equal_bounds));
  Json multiples = {{"type", "array"}};
  for (int i = 0; i < 4; ++i) {
    multiples["prefixItems"].push_back(
        {{"multipleOf", 0.00000991 + 1e-8 * i}, {"minimum", 1e-7 * i}});
  }
  all.push_back(Schema("large multiples", multiples));
  Json classes = {{"type", "array"}};
  for (int i = 0; i < 12; ++i) {
    classes["prefixItems"].push_back(
        {{"type", "string"}, {"pattern", "^(" + Times(4000, [](int) { return "\\W"; }) + ")$"}});
  }
  all.push_back(Schema("many large classes", classes));
  Json negated = {{"type", "array"}};
  for (int i = 0; i < 20; ++i) {
    const auto different = [i](int k) {
      return std::string("[^") + static_cast<char>('a' + i) + static_cast<char>('a' + k % 26) +
             static_cast<char>('a' + k / 26 % 26) + static_cast<char>('a' + k / 676) + "]";
    };
    negated["prefixItems"].push_back(
        {{"type", "string"}, {"pattern", "^(" + Times(2000, different) + ")$"}});
  }
  all.push_back(Schema("many different classes", negated));
  return all;
}

std::vector<Hostile> Objects() {
  std::vector<Hostile> all;
  Json wide = {{"type", "object"}}, closed = wide, required = wide;
  for (int i = 0; i < 3000; ++i) wide["properties"]["name" + std::to_string(i)] = true;
  for (int i = 0; i < 1000; ++i) {
    closed["properties"]["p" + std::to_string(i)] = {{"type", "integer"}};
    required["required"].push_back("r" + std::to_string(i));
  }
  closed["additionalProperties"] = Json::object();
  all.push_back(Schema("3000 optional properties", wide));
  all.push_back(Schema("1000 optional properties and others", closed));
  all.push_back(Schema("1000 required names", required));
  Json numbers, texts;
  for (int i = 0; i < 20'000; ++i) numbers["enum"].push_back(i * 7919);
  for (int i = 0; i < 700; ++i) texts["enum"].push_back(A(i));
  all.push_back(Schema("a wide enum", numbers));
  all.push_back(Schema("an enum of beginnings", texts));
  all.push_back(
      Schema("two wide enums at a time", {{"allOf", {numbers, numbers, {{"enum", {1, 2}}}}}}));
  Json reversed = numbers;
  std::reverse(reversed["enum"].begin(), reversed["enum"].end());
  all.push_back(Schema("wide enums in other orders", {{"allOf", {numbers, reversed}}}));
  Json parts;
  for (int k = 0; k < 60; ++k) {
    Json part;
    for (int i = 0; i < 60; ++i) {
      part["properties"]["q" + std::to_string(k * 40 + i)] = {{"minimum", k}};
    }
    parts["allOf"].push_back(part);
  }
  all.push_back(Schema("many properties in many parts", parts));
  return all;
}

std::vector<Hostile> Combinations() {
  std::vector<Hostile> all;
  Json product;
  for (int k = 0; k < 12; ++k) {
    product["allOf"].push_back(
        {{"anyOf", {{{"minimum", k}}, {{"maximum", 100 + k}}, {{"type", "number"}}}}});
  }
  all.push_back(Schema("a product of choices", product));
  Json described = {{"type", "object"}};
  described["properties"]["a"] = {{"type", "string"}, {"description", std::string(100'000, 'x')}};
  for (int i = 0; i < 5000; ++i) described["anyOf"].push_back({{"required", {"a"}}});
  all.push_back(Schema("a long description in many choices", described));
  Json doubled;
  for (int i = 0; i < 60; ++i) {
    const Json next = {{"$ref", "#/$defs/d" + std::to_string(i + 1)}};
    doubled["$defs"]["d" + std::to_string(i)] = {{"allOf", {next, next}}};
  }
  doubled["$defs"]["d60"] = {{"type", "string"}};
  doubled["$ref"] = "#/$defs/d0";
  all.push_back(Schema("references that double", doubled));
  Json chain;
  for (int i = 0; i < 4000; ++i) {
    chain["$defs"]["d" + std::to_string(i)] = {
        {"type", "object"},
        {"properties", {{"x", {{"$ref", "#/$defs/d" + std::to_string(i + 1)}}}}},
        {"required", {"x"}}};
  }
  chain["$defs"]["d4000"] = {{"type", "null"}};
  chain["$ref"] = "#/$defs/d0";
  all.push_back(Schema("a chain of references", chain));
  Json items = {{"type", "integer"}};
  for (int i = 0; i < 25; ++i) items = {{"type", "array"}, {"items", items}, {"maxItems", 100'000}};
  all.push_back(Schema("counted lists of counted lists", items));
  Json types = {{"type", Json::array()}, {"pattern", "^(a|b){3,9}$"}};
  for (int i = 0; i < 20'000; ++i) types["type"].push_back(i % 2 == 0 ? "string" : "integer");
  all.push_back(Schema("a type named often", types));
  Json many_any;
  for (int i = 0; i < 3000; ++i) {
    many_any["anyOf"].push_back(
        {{"type", "object"},
         {"properties", {{"k", {{"const", i}}}, {"v", {{"type", "string"}, {"maxLength", i}}}}},
         {"required", {"k", "v"}}});
  }
  all.push_back(Schema("many kinds of objects", many_any));
  // Half a million ways through few definitions.
  Json ways = {{"$ref", "#/$defs/d0"}};
  for (int i = 0; i < 19; ++i) {
    const Json next = {{"$ref", "#/$defs/d" + std::to_string(i + 1)}};
    ways["$defs"]["d" + std::to_string(i)] = {
        {"anyOf",
         {{{"allOf", {next, {{"minimum", i}}}}}, {{"allOf", {next, {{"maximum", i + 50}}}}}}}};
  }
  ways["$defs"]["d19"] = {{"type", "number"}};
  all.push_back(Schema("choices of references", ways));
  Json deep_refs = {{"type", "null"}};
  for (int i = 0; i < 30; ++i) {
    Json level;
    for (int k = 0; k < 150; ++k) level["x" + std::to_string(k)] = k;
    level["n"] = deep_refs;
    deep_refs = level;
  }
  std::string prefix = "#";
  for (int i = 0; i < 30; ++i) prefix += "/n";
  Json far = {{"definitions", deep_refs}};
  for (int i = 0; i < 3000; ++i) {
    far["prefixItems"].push_back({{"$ref", "#/definitions" + prefix.substr(1)}, {"minimum", i}});
  }
  all.push_back(Schema("far references", far));
  Json unknown;
  for (int i = 0; i < 6000; ++i) unknown["x-" + std::to_string(i)] = i;
  all.push_back(Schema("many unknown keywords", {{"allOf", {unknown, unknown}}, {"type", "null"}}));
  return all;
}

double Millis(Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

// Texts that visit many states: the longest tokens are preferred in one answer, any in another.
void Write(const std::shared_ptr<TokenGrammar>& grammar, const TokenTrie& trie, double* worst_mask,
           std::string* end) {
  std::mt19937 random(1);
  for (int answer = 0; answer < 2; ++answer) {
    TokenConstraint constraint(grammar);
    for (int length = 0; length < 60; ++length) {
      const auto start = Clock::now();
      const auto mask = constraint.Mask();
      *worst_mask = std::max(*worst_mask, Millis(Clock::now() - start));
      if (!mask.ok()) {
        EXPECT_EQ(mask.error().message.back(), '.');
        *end = "ends: " + mask.error().message.substr(0, 60);
        return;
      }
      std::vector<int32_t> allowed;
      for (int32_t t = 0; t < trie.vocab_size(); ++t) {
        if ((((**mask)[static_cast<size_t>(t) >> 6] >> (t & 63)) & 1) != 0) allowed.push_back(t);
      }
      if (allowed.empty()) break;
      int32_t token = allowed[random() % allowed.size()];
      if (answer == 0) {
        token = *std::max_element(allowed.begin(), allowed.end(), [&](int32_t a, int32_t b) {
          return trie.TextOf(a).size() < trie.TextOf(b).size();
        });
      }
      if (!constraint.Accept(token).ok()) return;
    }
  }
}

TEST(HostileConstraintsTest, EndSoon) {
  std::mt19937 random(7);
  const auto trie = std::make_shared<const TokenTrie>(LargeVocabulary(&random));
  std::printf("%-40s %10s %8s %10s\n", "", "compile ms", "MB", "mask ms");
  for (auto* group : {&Patterns, &Strings, &Objects, &Combinations}) {
    for (const Hostile& hostile : (*group)()) {
      SCOPED_TRACE(hostile.name);
      const auto start = Clock::now();
      auto automaton = CompileConstraint(hostile.spec);
      const double compile = Millis(Clock::now() - start);
      double worst_mask = 0;
      size_t bytes = 0;
      std::string end;
      if (automaton.ok()) {
        const auto first = Clock::now();
        auto grammar = TokenGrammar::Create(std::move(automaton).value(), trie);
        worst_mask = Millis(Clock::now() - first);
        if (grammar.ok()) {
          Write(*grammar, *trie, &worst_mask, &end);
          bytes = (*grammar)->MemoryBytes();
        } else {
          end = grammar.error().message.substr(0, 60);
        }
      } else {
        end = automaton.error().message.substr(0, 100);
        EXPECT_EQ(automaton.error().message.back(), '.');
      }
      std::printf("%-40s %10.1f %8.1f %10.1f %s\n", hostile.name.c_str(), compile,
                  static_cast<double>(bytes) / (1 << 20), worst_mask, end.c_str());
      std::fflush(stdout);
      // They take a tenth of this and less; machines that run tests are busy.
      EXPECT_LT(compile, 10'000);
      EXPECT_LT(worst_mask, 5000);
      EXPECT_LT(bytes, size_t{200} << 20);
    }
  }
}

}  // namespace
}  // namespace tessera
