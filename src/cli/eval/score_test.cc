#include "cli/eval/score.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

using ::testing::HasSubstr;

EvalItem Item(const std::string& gold) { return {"p", gold, "", false}; }

TEST(ScoreTest, CountsEachKindApart) {
  std::vector<EvalItem> items = {Item("#### 1"), Item("#### 2"), Item("#### 3"), Item("#### 4")};
  items[0].has_reference = true;
  items[0].reference_completion = "it is\n#### 1";
  items[3].has_reference = true;  // its reference is the empty answer
  const std::vector<std::string> first = {"it is\n#### 1", "2", "#### 3 or 5", "4"};
  const std::vector<std::string> answers = {"it is\n#### 1", "2", "#### 3 or 5", ""};
  const EvalScore score = ScoreRun(items, answers, first);
  EXPECT_EQ(score.items, 4);
  EXPECT_EQ(score.flexible, 2);  // the third's last number is 5
  EXPECT_EQ(score.strict, 2);    // the second has no mark
  EXPECT_EQ(score.identical_to_first, 3);
  EXPECT_EQ(score.references, 2);
  EXPECT_EQ(score.identical_to_reference, 2);
  EXPECT_EQ(score.FlexibleShare(), 0.5);
}

TEST(ScoreTest, ShowsTheNumbers) {
  EvalScore score;
  score.items = 500;
  score.flexible = 413;
  score.strict = 412;
  score.identical_to_first = 500;
  score.references = 500;
  score.identical_to_reference = 499;
  const EvalRun run{"portable", {}, 1000000, 50000, 50.0};
  const std::string row = TableRow(run, score, true);
  EXPECT_THAT(row, HasSubstr("0.826 ± 0.0170"));
  EXPECT_THAT(row, HasSubstr("0.824 ± 0.0170"));
  EXPECT_THAT(row, HasSubstr("499/500"));
  EXPECT_THAT(row, HasSubstr("20.0 k"));
  EXPECT_THAT(row, HasSubstr("1,000"));
  EXPECT_THAT(TableRow(run, score, false), Not(HasSubstr("499/500")));

  const auto json = ToJson(run, score);
  EXPECT_EQ(json["name"], "portable");
  EXPECT_EQ(json["flexible_extract"], 0.826);
  EXPECT_EQ(json["identical_to_reference"], 499);
  EXPECT_NEAR(json["stderr"].get<double>(), 0.01697, 1e-5);
  score.references = 0;
  EXPECT_FALSE(ToJson(run, score).contains("identical_to_reference"));
}

TEST(ScoreTest, NothingIsNoDivision) {
  const EvalScore score = ScoreRun({}, {}, {});
  EXPECT_EQ(score.FlexibleShare(), 0);
  EXPECT_EQ(ToJson(EvalRun{}, score)["output_tokens_per_second"], 0);
}

}  // namespace
}  // namespace tessera
