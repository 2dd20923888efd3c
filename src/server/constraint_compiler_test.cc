#include "server/constraint_compiler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
namespace {

using grammar::TokenTrie;
using ::testing::EndsWith;

ConstraintSpec Pattern(std::string pattern) {
  ConstraintSpec spec;
  spec.kind = ConstraintSpec::Kind::kRegex;
  spec.pattern = std::move(pattern);
  return spec;
}

ConstraintSpec Choice(const std::string& text) {
  ConstraintSpec spec;
  spec.kind = ConstraintSpec::Kind::kChoice;
  spec.choices = {text};
  return spec;
}

std::shared_ptr<const TokenTrie> Letters() {
  return std::make_shared<const TokenTrie>(
      std::vector<std::string>{"a", "b", std::string(2000, 'a'), ""});
}

TEST(ConstraintCompilerTest, RefusalsAreRemembered) {
  ConstraintCompiler compiler(Letters());
  // What is no pattern, what takes too many states, what takes too much work at its first token,
  // and what no token can begin.
  ConstraintSpec schema;
  schema.kind = ConstraintSpec::Kind::kJsonSchema;
  schema.schema = {{"type", "string"}, {"pattern", "^(a|b)*a(a|b){900}$"}, {"maxLength", 9000}};
  const std::vector<ConstraintSpec> specs = {Pattern("("), schema,
                                             Pattern("((a{1,100}){1,100}){1,100}b"), Choice("x")};
  std::vector<std::string> messages;
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < specs.size(); ++i) {
      const auto refused = compiler.Compile(specs[i]);
      ASSERT_FALSE(refused.ok());
      EXPECT_THAT(refused.error().message, EndsWith("."));
      if (round == 0) messages.push_back(refused.error().message);
      EXPECT_EQ(refused.error().message, messages[i]);
    }
    EXPECT_EQ(compiler.num_compiled(), static_cast<int64_t>(specs.size()));
  }
}

TEST(ConstraintCompilerTest, SmallOnesAreAllKept) {
  ConstraintCompiler compiler(Letters());
  std::vector<std::shared_ptr<TokenGrammar>> grammars;
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 200; ++i) {
      // No token has digits.
      EXPECT_FALSE(compiler.Compile(Choice(std::to_string(i))).ok());
      const auto other = compiler.Compile(Choice(std::string(static_cast<size_t>(i) + 1, 'a')));
      ASSERT_TRUE(other.ok());
      if (round == 0) grammars.push_back(*other);
      EXPECT_EQ(*other, grammars[static_cast<size_t>(i)]);
    }
  }
  EXPECT_EQ(compiler.num_compiled(), 400);
  EXPECT_LT(compiler.KeptBytes(), ConstraintCompiler::kMaxKeptBytes);
}

TEST(ConstraintCompilerTest, LargeOnesMakeRoomForEachOther) {
  // Some MB each.
  const auto large = [](int i) {
    ConstraintSpec spec;
    spec.kind = ConstraintSpec::Kind::kJsonSchema;
    spec.schema = {{"type", "object"}, {"required", {"a"}}};
    for (int k = 0; k < 800; ++k) {
      spec.schema["properties"]["p" + std::to_string(k)] = {{"maximum", i + k}};
    }
    return spec;
  };
  std::vector<std::string> bytes;
  for (unsigned b = 0; b < 256; ++b) bytes.emplace_back(1, static_cast<char>(b));
  ConstraintCompiler json(std::make_shared<const TokenTrie>(bytes));
  for (int i = 0; i < 20; ++i) {
    const auto grammar = json.Compile(large(i));
    ASSERT_TRUE(grammar.ok()) << grammar.error().message;
    EXPECT_GT((*grammar)->MemoryBytes(), size_t{4} << 20);
    EXPECT_LE(json.KeptBytes(), ConstraintCompiler::kMaxKeptBytes);
  }
  ASSERT_TRUE(json.Compile(large(19)).ok());
  EXPECT_EQ(json.num_compiled(), 20);
  ASSERT_TRUE(json.Compile(large(0)).ok());
  EXPECT_EQ(json.num_compiled(), 21);
}

}  // namespace
}  // namespace tessera
