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
#include "grammar/testing/vocabulary.h"

namespace tessera {
namespace {

using grammar::TokenTrie;
using ::tessera::testing::Json;
using ::tessera::testing::LargeVocabulary;
using ::tessera::testing::RandomSchema;
using ::tessera::testing::SmallVocabulary;
using ::tessera::testing::Violation;

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
  const auto trie = std::make_shared<const TokenTrie>(SmallVocabulary(1000, &random));
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
        ASSERT_FALSE(allowed.empty()) << "stuck after " << text;
        if (answer == 0 && length < 40) {
          for (int32_t t = 0; t < trie->vocab_size(); ++t) {
            TokenConstraint copy = constraint;
            ASSERT_EQ(copy.Accept(t).ok(), std::binary_search(allowed.begin(), allowed.end(), t))
                << "token '" << trie->TextOf(t) << "' after " << text;
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
  // A few schemas draw answers that continue past the limit; they must not be what is tested most.
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

std::shared_ptr<TokenGrammar> CompilePattern(const std::string& pattern,
                                             std::shared_ptr<const TokenTrie> trie) {
  ConstraintSpec spec;
  spec.kind = ConstraintSpec::Kind::kRegex;
  spec.pattern = pattern;
  return std::move(
             TokenGrammar::Create(std::move(CompileConstraint(spec)).value(), std::move(trie)))
      .value();
}

// One request visits more states than there is room for; those that it has left are dropped, and
// neither it nor the request beside it notices.
TEST(TokenGrammarTest, StatesThatNobodyNeedsAreDropped) {
  std::mt19937 random(3);
  std::vector<std::string> texts = {"a", "b", "c"};
  for (int i = 0; i < 64; ++i) {
    for (texts.emplace_back(); texts.back().size() < 8;) texts.back() += "ab"[random() % 2];
  }
  const auto trie = std::make_shared<const TokenTrie>(texts);
  // Which of the last 25 letters were "a" is a state.
  const char* const pattern = "((a|b)*a(a|b){24}|b{40}a*)c";
  const auto shared = CompilePattern(pattern, trie);
  TokenConstraint wanderer(shared), neighbour(shared);
  TokenConstraint expected(CompilePattern(pattern, trie));
  int times_dropped = 0;
  size_t bytes = 0;
  for (int i = 0; i < 50'000 && times_dropped < 2; ++i) {
    const auto mask = wanderer.Mask();
    ASSERT_TRUE(mask.ok()) << "token " << i << ": " << mask.error().message;
    ASSERT_TRUE(wanderer.Accept(3 + static_cast<int32_t>(random() % 64)).ok()) << "token " << i;
    ASSERT_EQ(**neighbour.Mask(), **expected.Mask());
    const size_t now = shared->MemoryBytes();
    times_dropped += now < bytes ? 1 : 0;
    bytes = now;
    ASSERT_LT(bytes, size_t{150} << 20);
    if (i % 1000 != 0 || i >= 15'000) continue;
    ASSERT_TRUE(neighbour.Accept(1).ok());  // up to 15 "b"
    ASSERT_TRUE(expected.Accept(1).ok());
  }
  EXPECT_EQ(times_dropped, 2);
  for (const int32_t token :
       {0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2}) {
    ASSERT_EQ(**neighbour.Mask(), **expected.Mask());
    ASSERT_TRUE(neighbour.Accept(token).ok());
    ASSERT_TRUE(expected.Accept(token).ok());
  }
  EXPECT_TRUE(neighbour.MustEnd());
}

// One request needs so much at the same time that there is no room left: it ends, the other not.
TEST(TokenGrammarTest, OnlyTheRequestThatNeedsTooMuchEnds) {
  const auto trie = std::make_shared<const TokenTrie>(
      std::vector<std::string>{"[", "]", std::string(100, '['), "1"});
  const auto shared = Compile(Json::parse(R"({"type": "array", "items": {"anyOf": [
      {"$ref": "#"}, {"const": 1}]}})"),
                              trie);
  TokenConstraint deep(shared), flat(shared);
  ASSERT_TRUE(flat.Accept(0).ok());
  Status status;
  for (int i = 0; i < 100'000 && status.ok(); ++i) {
    status = deep.Accept(2);
    if (status.ok()) {
      const auto mask = deep.Mask();
      if (!mask.ok()) status = mask.error();
    }
  }
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kOutOfMemory) << status.error().message;
  EXPECT_FALSE(deep.Mask().ok());
  EXPECT_FALSE(deep.Accept(0).ok());
  EXPECT_EQ(TokensOf(**flat.Mask()), (std::vector<int32_t>{0, 1, 2, 3}));
  for (const int32_t token : {0, 3, 1, 1}) ASSERT_TRUE(flat.Accept(token).ok());
  EXPECT_TRUE(flat.MustEnd());
  // So does one that comes later.
  TokenConstraint later(shared);
  EXPECT_TRUE(later.Accept(2).ok());
}

// A token that takes too much work ends its request; what others need of the grammar stays right.
TEST(TokenGrammarTest, OnlyTheRequestThatTakesTooMuchWorkEnds) {
  const auto trie = std::make_shared<const TokenTrie>(
      std::vector<std::string>{"x", "a", std::string(2000, 'a'), "b"});
  const auto shared = CompilePattern("x((a{1,100}){1,100}){1,100}b|ab", trie);
  TokenConstraint other(shared), hard(shared);
  ASSERT_TRUE(hard.Accept(0).ok());
  const auto mask = hard.Mask();
  ASSERT_FALSE(mask.ok());
  EXPECT_EQ(mask.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(mask.error().message.back(), '.');
  EXPECT_EQ(TokensOf(**other.Mask()), (std::vector<int32_t>{0, 1}));
  ASSERT_TRUE(other.Accept(1).ok());
  EXPECT_EQ(TokensOf(**other.Mask()), (std::vector<int32_t>{3}));
  ASSERT_TRUE(other.Accept(3).ok());
  EXPECT_TRUE(other.MustEnd());
}

// What masks cost with a vocabulary of today's size; prints it, as it depends on the machine.
TEST(TokenGrammarTest, MasksOfALargeVocabulary) {
  std::mt19937 random(7);
  const auto trie = std::make_shared<const TokenTrie>(LargeVocabulary(&random));
  const Json schema = Json::parse(R"({"type": "object", "properties": {
      "name": {"type": "string", "maxLength": 60}, "tags": {"type": "array", "items": {"type": "string"}},
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
