#include "engine/token_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace tessera {
namespace {

using ::testing::ElementsAreArray;

TEST(TokenRules, ForbiddenAfter) {
  using Words = std::vector<std::vector<int32_t>>;
  struct Case {
    std::vector<int32_t> output;
    Words words;
    std::vector<int32_t> forbidden;
    std::vector<int32_t> expected;
  };
  const Case cases[] = {
      {{}, {}, {7, 9}, {7, 9}},
      {{}, {{5}}, {7}, {5, 7}},
      {{}, {{5}, {5}, {7}}, {7}, {5, 7}},  // once each
      {{}, {{1, 5}}, {}, {}},              // its beginning is not there
      {{1}, {{1, 5}}, {}, {5}},            //
      {{1, 2}, {{1, 5}}, {}, {}},          // not at the end
      {{2, 1}, {{1, 5}, {2, 1, 6}}, {}, {5, 6}},
      {{1, 1}, {{1, 1, 1}}, {}, {1}},
      {{1}, {{1, 1, 1}}, {}, {}},  // longer than the output
  };
  for (const Case& c : cases) {
    EXPECT_THAT(ForbiddenAfter(c.output, c.words, c.forbidden), ElementsAreArray(c.expected));
  }
}

TEST(TokenRules, Masks) {
  SamplingParams params;
  EXPECT_EQ(MakeTokenRules(params, {})->allowed, nullptr);
  params.allowed_token_ids = {0, 63, 64, 130, 63};
  const auto mask = MakeTokenRules(params, {})->allowed;
  EXPECT_THAT(*mask, ElementsAreArray(TokenMask{1 | uint64_t{1} << 63, 1, 4}));
  EXPECT_TRUE(HasToken(*mask, std::vector<int32_t>{0, 63, 64}));
  EXPECT_FALSE(HasToken(*mask, std::vector<int32_t>{0, 63, 64, 130}));
  EXPECT_TRUE(HasToken(*mask, std::vector<int32_t>{0, 63, 64, 131, 1000, -1}));
  const auto other = std::make_shared<const TokenMask>(TokenMask{3, 0});
  EXPECT_THAT(*Intersection(mask, other), ElementsAreArray(TokenMask{1, 0}));
  EXPECT_EQ(Intersection(mask, nullptr), mask);
  EXPECT_EQ(Intersection(nullptr, mask), mask);
}

}  // namespace
}  // namespace tessera
