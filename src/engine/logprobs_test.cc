#include "engine/logprobs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace tessera {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(Logprobs, AreThoseOfTheSoftmax) {
  const std::vector<float> logits = {1.0f, 3.0f, 2.0f, 3.0f};
  const double sum = std::exp(1.0) + std::exp(2.0) + 2 * std::exp(3.0);
  const TokenLogprob first = LogprobOf(logits, 2, 3);
  EXPECT_EQ(first.token, 2);
  EXPECT_EQ(first.rank, 3);
  EXPECT_NEAR(first.logprob, 2 - std::log(sum), 1e-6);
  ASSERT_EQ(first.top.size(), 3u);
  EXPECT_EQ(first.top[0].first, 1);  // equal logits: the smaller id first
  EXPECT_EQ(first.top[1].first, 3);
  EXPECT_EQ(first.top[2].first, 2);
  EXPECT_EQ(first.top[2].second, first.logprob);
  EXPECT_EQ(LogprobOf(logits, 1, 0).rank, 1);
  EXPECT_EQ(LogprobOf(logits, 3, 0).rank, 2);
  EXPECT_TRUE(LogprobOf(logits, 3, 0).top.empty());
  EXPECT_EQ(LogprobOf(logits, 0, 100).top.size(), 4u) << "no more than there are";
}

TEST(Logprobs, OfGreatNumbersAndImpossibleTokens) {
  const std::vector<float> logits = {1e30f, -kInfinity, -1e30f};
  EXPECT_EQ(LogprobOf(logits, 0, 0).logprob, 0);
  EXPECT_EQ(LogprobOf(logits, 1, 0).logprob, -kInfinity);
  EXPECT_EQ(LogprobOf(logits, 1, 0).rank, 3);
  EXPECT_EQ(LogprobOf({logits.data(), 1}, 0, 1).top[0].second, 0);
}

TEST(Logprobs, OfALargeVocabularySumToOne) {
  std::vector<float> logits(128 * 1024 + 3);
  for (size_t i = 0; i < logits.size(); ++i) {
    logits[i] = static_cast<float>((i * 7919) % 1000) / 100.0f;
  }
  double sum = 0;
  for (const auto& [token, logprob] :
       LogprobOf(logits, 5, static_cast<int32_t>(logits.size())).top) {
    sum += std::exp(static_cast<double>(logprob));
  }
  EXPECT_NEAR(sum, 1, 1e-4);
}

}  // namespace
}  // namespace tessera
