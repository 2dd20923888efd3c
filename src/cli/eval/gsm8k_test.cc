#include "cli/eval/gsm8k.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/testing/source_path.h"

namespace tessera {
namespace {

std::string DataFile(const std::string& name) {
  const std::string path = testing::TinyMathDirectory() + "/data/" + name;
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(Gsm8kTest, StrictMatchTakesTheFirstNumberBehindTheMark) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "[invalid]"},       {"42", "[invalid]"},
      {"####42", "[invalid]"}, {"#### ", "[invalid]"},
      {"#### -", "[invalid]"}, {"#### x #### 7", "7"},
      {"#### 42", "42"},       {"so\n#### -1,234.50 dollars\n#### 9", "-1,234.50"},
      {"##### 5", "5"},        {"#### $5", "[invalid]"},
      {"#### .,", ".,"},       {"#### --5", "[invalid]"},
  };
  for (const auto& [text, want] : cases) EXPECT_EQ(StrictMatch(text), want) << text;
}

TEST(Gsm8kTest, FlexibleExtractTakesTheLastNumber) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "[invalid]"},
      {"none", "[invalid]"},
      {"$", "[invalid]"},
      {"- $ -", "[invalid]"},
      {"7", "7"},
      {"-7", "-7"},
      {"5-7", "-7"},
      {"a 12 b 3.", "3."},
      {"He pays $18.", "$18."},
      {"wait...", "..."},
      {"#### 1,234\n\n", "1,234"},
      {"-$5", "-$5"},
      {"--5", "-5"},
      {"12%", "12"},
      {"5 .", "5"},
      {"\xc3\xa9 8 \xe2\x82\xac", "8"},
  };
  for (const auto& [text, want] : cases) EXPECT_EQ(FlexibleExtract(text), want) << text;
}

TEST(Gsm8kTest, NormalizesBothSides) {
  const std::pair<const char*, const char*> cases[] = {
      {"", ""},       {"$1,234.", "1234"},          {"1.50", "1.50"},
      {"5..", "5."},  {"a\n#### 3\n#### 42", "42"}, {"5.\n", "5\n"},
      {"ABC", "abc"}, {"[invalid]", "[invalid]"},   {"##,## 7", "7"},
  };
  for (const auto& [text, want] : cases) EXPECT_EQ(NormalizeAnswer(text), want) << text;
  EXPECT_TRUE(SameAnswer("$1,050.", "Some steps.\n#### 1050"));
  EXPECT_FALSE(SameAnswer("[invalid]", "#### 3"));
}

TEST(Gsm8kTest, StandardErrorIsThatOfTheSample) {
  EXPECT_EQ(StandardError(0, 0), 0);
  EXPECT_EQ(StandardError(1, 1), 0);
  EXPECT_EQ(StandardError(10, 10), 0);
  EXPECT_NEAR(StandardError(413, 500), 0.016971, 1e-6);
}

// The prompts that the Python scorer made from the same files, and its verdict on each answer.
TEST(Gsm8kTest, AgreesWithTheReferenceRunOnEveryPromptAndVerdict) {
  const auto tests = ParseProblems(DataFile("test.jsonl"), "test.jsonl");
  const auto shots = ParseProblems(DataFile("train.jsonl"), "train.jsonl");
  ASSERT_TRUE(tests.ok() && shots.ok());
  const auto items = MakeEvalItems(*tests, *shots, 5, 0);
  ASSERT_TRUE(items.ok());
  for (const char* name : {"reference/answers.float32.jsonl", "reference/answers.bfloat16.jsonl"}) {
    const std::string text = DataFile(name);
    const auto ready = ParseEvalItems(text, name);
    ASSERT_TRUE(ready.ok());
    ASSERT_EQ(ready->size(), items->size());
    std::istringstream lines(text);
    std::string line;
    for (size_t i = 0; i < items->size() && std::getline(lines, line); ++i) {
      const EvalItem& made = (*items)[i];
      const EvalItem& read = (*ready)[i];
      ASSERT_EQ(made.prompt, read.prompt) << i;
      EXPECT_EQ(NormalizeAnswer(made.gold), read.gold) << i;
      const auto record = nlohmann::json::parse(line);
      const std::string& answer = read.reference_completion;
      EXPECT_EQ(SameAnswer(StrictMatch(answer), made.gold), record["strict"].get<bool>()) << i;
      EXPECT_EQ(SameAnswer(FlexibleExtract(answer), made.gold), record["flexible"].get<bool>())
          << i;
    }
  }
}

TEST(Gsm8kTest, LimitsAndRefuses) {
  const std::vector<Problem> two{{"q1", "#### 1"}, {"q2", "#### 2"}};
  EXPECT_EQ(MakeEvalItems(two, two, 0, 1)->size(), 1u);
  EXPECT_EQ(MakeEvalItems(two, two, 0, 9)->size(), 2u);
  EXPECT_EQ((*MakeEvalItems(two, {}, 0, 0))[1].prompt, "Question: q2\nAnswer:");
  EXPECT_EQ(MakeEvalItems(two, two, 3, 0).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(MakeEvalItems(two, two, -1, 0).error().code, ErrorCode::kInvalidArgument);

  const std::pair<const char*, const char*> broken[] = {
      {"", "f holds no problems"},
      {"\n\n", "f holds no problems"},
      {"{\"question\":\"q\",\"answer\":\"a\"}\n{\"question\":", "f, line 2: not a JSON object"},
      {"[1]", "f, line 1: not a JSON object"},
      {"{\"question\":\"q\",\"answer\":3}", "f, line 1: needs a string \"answer\""},
  };
  for (const auto& [text, want] : broken) {
    const auto problems = ParseProblems(text, "f");
    ASSERT_FALSE(problems.ok()) << text;
    EXPECT_EQ(problems.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(problems.error().message, ::testing::HasSubstr(want));
  }
  EXPECT_THAT(ParseEvalItems("{\"prompt\":\"p\"}", "f").error().message,
              ::testing::HasSubstr("\"gold\""));
}

}  // namespace
}  // namespace tessera
