#include "tessera/merge.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace tessera {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

TEST(MergeStates, WeighsByExponentialOfLse) {
  const float a[] = {1.0f, 0.0f}, b[] = {0.0f, 1.0f};
  const PartialState states[] = {{a, std::log(3.0f)}, {b, std::log(1.0f)}};
  float out[2];
  EXPECT_NEAR(MergeStates(states, 2, out), std::log(4.0f), 1e-6);
  EXPECT_NEAR(out[0], 0.75f, 1e-6);
  EXPECT_NEAR(out[1], 0.25f, 1e-6);
}

TEST(MergeStates, PartsWithoutKeysDoNotCount) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float garbage[] = {nan}, a[] = {5.0f};
  const PartialState states[] = {{garbage, kNone}, {a, -700.0f}, {garbage, kNone}};
  float out[1];
  EXPECT_FLOAT_EQ(MergeStates(states, 1, out), -700.0f);
  EXPECT_FLOAT_EQ(out[0], 5.0f);
}

TEST(MergeStates, NoKeysAtAllGiveZero) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float garbage[] = {nan, nan};
  const PartialState states[] = {{garbage, kNone}, {garbage, kNone}};
  float out[2] = {7.0f, 7.0f};
  EXPECT_EQ(MergeStates(states, 2, out), kNone);
  EXPECT_EQ(out[0], 0.0f);
  EXPECT_EQ(out[1], 0.0f);
  EXPECT_EQ(MergeStates({}, 2, out), kNone);
}

TEST(MergeStates, NanStaysVisible) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float bad[] = {nan}, a[] = {5.0f};
  for (const std::vector<PartialState>& states : {std::vector<PartialState>{{bad, nan}, {bad, nan}},
                                                  {{bad, nan}, {a, 1.0f}},
                                                  {{a, 1.0f}, {bad, nan}},
                                                  {{bad, nan}, {bad, kNone}}}) {
    float out[1] = {7.0f};
    EXPECT_TRUE(std::isnan(MergeStates(states, 1, out)));
    EXPECT_TRUE(std::isnan(out[0]));
  }
}

TEST(MergeStates, ExtremeLseNeitherOverflowsNorVanishes) {
  const float a[] = {1.0f}, b[] = {3.0f};
  const PartialState states[] = {{a, 3e38f}, {b, 3e38f}};
  float out[1];
  EXPECT_FLOAT_EQ(MergeStates(states, 1, out), 3e38f);
  EXPECT_FLOAT_EQ(out[0], 2.0f);
}

TEST(MergeStates, MayWriteOverAnInput) {
  std::vector<float> a(200, 1.0f), b(200, 2.0f);
  const PartialState states[] = {{a.data(), 0.0f}, {b.data(), 0.0f}};
  MergeStates(states, 200, b.data());
  for (float x : b) EXPECT_FLOAT_EQ(x, 1.5f);
}

}  // namespace
}  // namespace tessera
