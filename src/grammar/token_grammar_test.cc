#include "grammar/token_grammar.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/testing/test_scale.h"
#include "grammar/constraint_spec.h"
#include "grammar/testing/schema_check.h"

namespace tessera {
namespace {

using grammar::TokenTrie;
using ::tessera::testing::Json;
using ::tessera::testing::RandomSchema;
using ::tessera::testing::Violation;

// All bytes, and pieces of JSON and words of several bytes, some of them twice.
std::vector<std::string> Vocabulary(size_t size, std::mt19937* random) {
  std::vector<std::string> texts;
  for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  const std::string pieces[] = {
      "\"",     "\": ",     "\", \"",   "{\"",   "}",     "[",    "]",  ", ", ": ",
      "true",   "null",     " ",        "\n  ",  "a",     "the",  "12", "-",  "0.",
      "\u00e4", "\xf0\x9f", "\x98\x80", "label", "\\u00", "\\\"", "e",  "n1"};
  texts.emplace_back("");  // an end token
  while (texts.size() < size) {
    std::string text;
    for (unsigned count = 1 + (*random)() % 3; count > 0; --count) {
      text += pieces[(*random)() % std::size(pieces)];
    }
    texts.push_back(text);
  }
  return texts;
}

std::shared_ptr<TokenGrammar> Compile(const Json& schema, std::shared_ptr<const TokenTrie> trie) {
  ConstraintSpec spec;
  spec.kind = ConstraintSpec::Kind::kJsonSchema;
  spec.schema = schema;
  auto automaton = CompileConstraint(spec);
  EXPECT_TRUE(automaton.ok()) << (automaton.ok() ? "" : automaton.error().message);
  if (!automaton.ok()) return nullptr;
  auto grammar = TokenGrammar::Create(std::move(automaton).value(), std::move(trie));
  EXPECT_TRUE(grammar.ok()) << (grammar.ok() ? "" : grammar.error().message);
  return grammar.ok() ? std::move(grammar).value() : nullptr;
}

std::vector<int32_t> TokensOf(const TokenMask& mask) {
  std::vector<int32_t> tokens;
  for (size_t word = 0; word < mask.size(); ++word) {
    for (int bit = 0; bit < 64; ++bit) {
      if (((mask[word] >> bit) & 1) != 0) tokens.push_back(static_cast<int32_t>(word * 64) + bit);
    }
  }
  return tokens;
}

// Uniformly random tokens of each mask, up to an end: whatever comes out follows the schema. The
// masks are compared with the tokens tried one by one.
TEST(TokenGrammarTest, RandomAnswersFollowRandomSchemas) {
  std::mt19937 random(20250);
  const auto trie = std::make_shared<const TokenTrie>(Vocabulary(1000, &random));
  const int schemas = static_cast<int>(tessera::testing::Scaled(400));
  int finished = 0, cut = 0;
  for (int s = 0; s < schemas; ++s) {
    const Json schema = RandomSchema(&random);
    SCOPED_TRACE(schema.dump());
    const auto grammar = Compile(schema, trie);
    ASSERT_NE(grammar, nullptr);
    for (int answer = 0; answer < 8; ++answer) {
      std::string text;
      TokenConstraint constraint(grammar);
      int length = 0;
      while (!constraint.MustEnd() && length < 2000) {
        auto mask = constraint.Mask();
        ASSERT_TRUE(mask.ok()) << mask.error().message;
        const std::vector<int32_t> allowed = TokensOf(**mask);
        if (constraint.MayEnd() && (allowed.empty() || random() % 3 == 0)) break;
        ASSERT_FALSE(allowed.empty()) << "stuck behind " << text;
        if (answer == 0 && length < 40) {
          for (int32_t t = 0; t < trie->vocab_size(); ++t) {
            TokenConstraint copy = constraint;
            ASSERT_EQ(copy.Accept(t).ok(), std::binary_search(allowed.begin(), allowed.end(), t))
                << "token '" << trie->TextOf(t) << "' behind " << text;
          }
        }
        const int32_t token = allowed[random() % allowed.size()];
        ASSERT_TRUE(constraint.Accept(token).ok());
        text += trie->TextOf(token);
        ++length;
      }
      if (!constraint.MayEnd()) {
        ++cut;
        continue;
      }
      ++finished;
      const Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
      ASSERT_FALSE(value.is_discarded()) << text;
      ASSERT_EQ(Violation(value, schema, schema), "") << text;
    }
  }
  // A few schemas draw answers that go on past the limit; they must not be what is tested most.
  EXPECT_GT(finished, 5 * cut);
}

TEST(TokenGrammarTest, TokensThatNobodyHas) {
  const auto trie = std::make_shared<const TokenTrie>(std::vector<std::string>{"a", "b", ""});
  ConstraintSpec spec;
  spec.kind = ConstraintSpec::Kind::kChoice;
  spec.choices = {"c"};
  auto refused = TokenGrammar::Create(std::move(CompileConstraint(spec)).value(), trie);
  ASSERT_FALSE(refused.ok());
  spec.choices = {"ab", "a"};
  auto grammar = TokenGrammar::Create(std::move(CompileConstraint(spec)).value(), trie);
  ASSERT_TRUE(grammar.ok());
  TokenConstraint constraint(*grammar);
  EXPECT_EQ(TokensOf(**constraint.Mask()), (std::vector<int32_t>{0}));
  EXPECT_FALSE(constraint.Accept(1).ok());
  EXPECT_FALSE(constraint.Accept(2).ok());
  EXPECT_FALSE(constraint.Accept(-1).ok());
  EXPECT_FALSE(constraint.Accept(3).ok());
  EXPECT_TRUE(constraint.Accept(0).ok());
  EXPECT_TRUE(constraint.MayEnd());
  EXPECT_FALSE(constraint.MustEnd());
  EXPECT_TRUE(constraint.Accept(1).ok());
  EXPECT_TRUE(constraint.MustEnd());
}

// What masks cost with a vocabulary of today's size; prints it, as it depends on the machine.
TEST(TokenGrammarTest, MasksOfALargeVocabulary) {
  std::mt19937 random(7);
  std::vector<std::string> texts = Vocabulary(2000, &random);
  while (texts.size() < 128'000) {
    std::string text = random() % 2 == 0 ? " " : "";
    for (unsigned count = 2 + random() % 9; count > 0; --count) {
      text += static_cast<char>(random() % 12 == 0 ? 'A' + random() % 26 : 'a' + random() % 26);
    }
    texts.push_back(text);
  }
  const auto trie = std::make_shared<const TokenTrie>(texts);
  const Json schema = Json::parse(R"({"type": "object", "properties": {
      "name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}},
      "age": {"type": "integer", "minimum": 0}, "short": {"type": "string", "maxLength": 40},
      "code": {"type": "string", "pattern": "^[a-z]{1,8}-[0-9]+$"}},
      "required": ["name", "tags", "age", "short", "code"]})");
  using Clock = std::chrono::steady_clock;
  const auto micros = [](Clock::duration d) {
    return std::chrono::duration<double, std::micro>(d).count();
  };
  const auto before = Clock::now();
  const auto grammar = Compile(schema, trie);
  ASSERT_NE(grammar, nullptr);
  const double compile = micros(Clock::now() - before);
  std::vector<double> fresh, cached;
  for (int answer = 0; answer < 20; ++answer) {
    TokenConstraint constraint(grammar);
    for (int length = 0; length < 200 && !constraint.MustEnd(); ++length) {
      const auto start = Clock::now();
      auto mask = constraint.Mask();
      ASSERT_TRUE(mask.ok());
      const double taken = micros(Clock::now() - start);
      (answer == 0 ? fresh : cached).push_back(taken);
      const std::vector<int32_t> allowed = TokensOf(**mask);
      ASSERT_TRUE(constraint.Accept(allowed[random() % allowed.size()]).ok());
    }
  }
  const auto quantile = [](std::vector<double>* values, double q) {
    std::sort(values->begin(), values->end());
    return (*values)[static_cast<size_t>(q * static_cast<double>(values->size() - 1))];
  };
  std::printf(
      "vocabulary of 128,000: schema to first mask %.0f us; masks of the first answer: "
      "median %.0f us, 90 %% %.0f us; of later answers: median %.1f us, 90 %% %.0f us\n",
      compile, quantile(&fresh, 0.5), quantile(&fresh, 0.9), quantile(&cached, 0.5),
      quantile(&cached, 0.9));
}

}  // namespace
}  // namespace tessera
