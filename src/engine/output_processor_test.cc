#include "engine/output_processor.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/testing/source_path.h"

namespace tessera {
namespace {

TEST(StopChecker, TokensAndCounts) {
  SamplingParams params;
  params.max_tokens = 4;
  params.min_tokens = 2;
  params.stop_token_ids = {9, 7, 9};
  const StopChecker checker(params, MakeTokenRules(params, {3}), 100);
  EXPECT_EQ(checker.ForbiddenAt(0).size(), 3u);
  EXPECT_EQ(checker.ForbiddenAt(1).size(), 3u);
  EXPECT_TRUE(checker.ForbiddenAt(2).empty());
  EXPECT_FALSE(checker.SearchesTextOf(1));
  EXPECT_TRUE(checker.SearchesTextOf(2));
  EXPECT_EQ(checker.Check(9, 2, 10), FinishReason::kNone);
  EXPECT_EQ(checker.Check(9, 3, 10), FinishReason::kStop);
  EXPECT_EQ(checker.Check(3, 3, 10), FinishReason::kStop);
  EXPECT_EQ(checker.Check(1, 3, 10), FinishReason::kNone);
  EXPECT_EQ(checker.Check(1, 4, 10), FinishReason::kLength);
  EXPECT_EQ(checker.Check(1, 1, 100), FinishReason::kLength);
  EXPECT_EQ(checker.Check(7, 4, 100), FinishReason::kStop);
}

class OutputProcessorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto tokenizer = Tokenizer::Load(testing::TinyMathDirectory());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    tokenizer_ = std::move(tokenizer).value();
  }

  // The text after each token of `text` and then `last`, joined by '|'; ends with the reason.
  std::string Run(const std::string& text, const SamplingParams& params, int32_t last = 1) {
    std::vector<int32_t> tokens = tokenizer_->Encode(text, false);
    tokens.push_back(last);
    OutputProcessor output(tokenizer_.get(), params,
                           StopChecker(params, MakeTokenRules(params, {1}), 1000));
    std::string joined;
    for (const int32_t token : tokens) {
      RequestUpdate update;
      output.Append(token, 10, &update);
      joined += update.text;
      if (update.finish != FinishReason::kNone) return joined + '|' + ToString(update.finish);
    }
    return joined;
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(OutputProcessorTest, TextEndsBeforeItsEnd) {
  SamplingParams params;
  EXPECT_EQ(Run("12 apples", params), "12 apples|stop");
  params.stop = {"app"};
  EXPECT_EQ(Run("12 apples", params), "12 |stop");
  params.stop = {"2 a", "zzz"};
  EXPECT_EQ(Run("12 apples", params), "1|stop");
  params.stop = {"les and pears"};
  EXPECT_EQ(Run("12 apples", params), "12 apples|stop") << "held back, then given out";
  params.max_tokens = 2;
  params.stop = {"29"};
  EXPECT_EQ(Run("12 apples", params), "12|length") << "held back, then given out";
  params.stop = {"2"};
  EXPECT_EQ(Run("12 apples", params), "1|stop") << "both at once";
}

// Token 1 is the model's end.
TEST_F(OutputProcessorTest, WhatEndedTheText) {
  struct Case {
    std::vector<std::string> stop;
    std::vector<int32_t> stop_token_ids;
    int32_t last;
    const char* string;
    std::optional<int32_t> token;
  };
  for (const Case& c : {Case{{}, {}, 1, "", std::nullopt},              //
                        Case{{}, {1}, 1, "", std::nullopt},             // the model's own
                        Case{{}, {7}, 7, "", 7},                        //
                        Case{{"2 a", "apples"}, {7}, 7, "2 a", {}},     // the first
                        Case{{"les", "apples"}, {7}, 7, "apples", {}},  // the longest
                        Case{{"les and pears"}, {7}, 7, "", 7}}) {
    SamplingParams params;
    params.stop = c.stop;
    params.stop_token_ids = c.stop_token_ids;
    for (const bool keeps : {false, true}) {
      params.include_stop_str_in_output = keeps;
      std::vector<int32_t> tokens = tokenizer_->Encode("12 apples", false);
      tokens.push_back(c.last);
      OutputProcessor output(tokenizer_.get(), params,
                             StopChecker(params, MakeTokenRules(params, {1}), 1000));
      RequestUpdate update;
      for (size_t i = 0; update.finish == FinishReason::kNone; ++i) {
        EXPECT_EQ(update.stop_string, "");
        output.Append(tokens.at(i), 10, &update);
      }
      EXPECT_EQ(update.stop_string, c.string);
      EXPECT_EQ(update.stop_token, c.token);
    }
  }
}

TEST_F(OutputProcessorTest, WhatEndedTheTextMayBePartOfIt) {
  SamplingParams params;
  params.include_stop_str_in_output = true;
  EXPECT_EQ(Run("12 apples", params), "12 apples|stop") << "the end token has no text";
  params.stop = {"2 a"};
  EXPECT_EQ(Run("12 apples", params), "12 a|stop");
  params.stop.clear();
  params.skip_special_tokens = false;
  EXPECT_EQ(Run("12", params), "12<|end_of_text|>|stop");
  params.include_stop_str_in_output = false;
  EXPECT_EQ(Run("12", params), "12|stop");
  params.max_tokens = 3;
  params.min_tokens = 3;  // the end token ends nothing, and is shown
  EXPECT_EQ(Run("12", params), "12<|end_of_text|>|length");
}

TEST_F(OutputProcessorTest, CharactersStayWhole) {
  SamplingParams params;
  EXPECT_EQ(Run("caf\u00e9 \U0001F600", params), "caf\u00e9 \U0001F600|stop");
  params.stop = {"\u00e9"};
  EXPECT_EQ(Run("caf\u00e9 \U0001F600", params), "caf|stop");
}

TEST_F(OutputProcessorTest, MinTokensHidesStopStrings) {
  SamplingParams params;
  params.stop = {"1"};
  params.min_tokens = 3;  // every digit is a token
  EXPECT_EQ(Run("11121", params),
            "111"
            "2|stop");
}

TEST(OutputProcessor, WithoutATokenizerThereIsNoText) {
  const SamplingParams params;
  OutputProcessor output(nullptr, params, StopChecker(params, MakeTokenRules(params, {1}), 1000));
  RequestUpdate update;
  output.Append(5, 2, &update);
  output.Append(1, 3, &update);
  EXPECT_EQ(update.text, "");
  EXPECT_EQ(update.tokens, (std::vector<int32_t>{5, 1}));
  EXPECT_EQ(update.finish, FinishReason::kStop);
  EXPECT_EQ(output.num_output(), 2);
}

}  // namespace
}  // namespace tessera
