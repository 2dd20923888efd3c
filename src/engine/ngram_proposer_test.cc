#include "engine/ngram_proposer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<int32_t> Guess(const std::vector<int32_t>& tokens, int32_t count) {
  std::vector<int32_t> guess = {-1};
  GuessByNgram(tokens, count, &guess);
  return guess;
}

TEST(NgramProposer, NothingToGoBy) {
  EXPECT_THAT(Guess({}, 4), IsEmpty());
  EXPECT_THAT(Guess({1}, 4), IsEmpty());
  EXPECT_THAT(Guess({1, 2, 3}, 4), IsEmpty());
  EXPECT_THAT(Guess({1, 2, 3, 1, 2}, 0), IsEmpty());
}

TEST(NgramProposer, WhatFollowedTheLongestOne) {
  EXPECT_THAT(Guess({1, 2, 3, 4, 1, 2}, 2), ElementsAre(3, 4));
  EXPECT_THAT(Guess({1, 2, 3, 4, 1, 2}, 4), ElementsAre(3, 4)) << "two speak for two";
  EXPECT_THAT(Guess({1, 2, 3, 1}, 4), ElementsAre(2));
  // The shorter match is more recent.
  EXPECT_THAT(Guess({7, 1, 2, 3, 9, 1, 2, 4, 7, 1, 2}, 1), ElementsAre(3));
  // Of equals the latest.
  EXPECT_THAT(Guess({1, 2, 3, 9, 1, 2, 4, 8, 1, 2}, 1), ElementsAre(4));
}

TEST(NgramProposer, GoesOnBehindTheEnd) {
  EXPECT_THAT(Guess({1, 2, 1, 2, 1, 2}, 7), ElementsAre(1, 2, 1, 2));
  EXPECT_THAT(Guess({5, 5, 5, 5, 5}, 3), ElementsAre(5, 5, 5));
}

TEST(NgramProposer, AsByComparingAll) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::vector<int32_t> tokens(random() % 60);
    for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 3);
    const size_t size = tokens.size();
    std::vector<int32_t> expected;
    for (size_t n = std::min<size_t>(kMaxNgram, size); n > 0 && expected.empty(); --n) {
      for (size_t begin = size - n; begin-- > 0 && expected.empty();) {
        if (!std::equal(tokens.end() - static_cast<std::ptrdiff_t>(n), tokens.end(),
                        tokens.begin() + static_cast<std::ptrdiff_t>(begin))) {
          continue;
        }
        std::vector<int32_t> all = tokens;
        while (expected.size() < std::min<size_t>(n, 5)) {
          expected.push_back(all[begin + n + expected.size()]);
          all.push_back(expected.back());
        }
      }
    }
    ASSERT_EQ(Guess(tokens, 5), expected);
  }
}

}  // namespace
}  // namespace tessera
