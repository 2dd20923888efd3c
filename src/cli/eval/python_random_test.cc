// Expected values were printed by CPython 3.11's random module.
#include "cli/eval/python_random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

std::vector<uint32_t> Draw(uint64_t seed, int count) {
  PythonRandom random(seed);
  std::vector<uint32_t> values;
  for (int i = 0; i < count; ++i) values.push_back(random.NextUint32());
  return values;
}

TEST(PythonRandomTest, SeedsAsCPython) {
  EXPECT_THAT(Draw(1234, 6), ElementsAre(4150886329u, 3342196574u, 1892932127u, 501869158u,
                                         32175636u, 389311301u));
  EXPECT_THAT(Draw(0, 2), ElementsAre(3626764237u, 1654615998u));
  EXPECT_THAT(Draw((uint64_t{1} << 40) + 7, 2), ElementsAre(2635837658u, 3209733218u));
}

TEST(PythonRandomTest, BelowRejectsAsCPython) {
  PythonRandom random(1234);
  std::vector<uint32_t> values;
  for (int i = 0; i < 12; ++i) values.push_back(random.Below(7));
  EXPECT_THAT(values, ElementsAre(6, 3, 0, 0, 0, 6, 4, 0, 5, 5, 0, 0));
  EXPECT_EQ(random.Below(1), 0u);
}

struct SampleCase {
  uint32_t population;
  uint32_t count;
  std::vector<uint32_t> first;
  std::vector<uint32_t> second;
};

// Populations on both sides of the size at which CPython changes from a list to a set.
TEST(PythonRandomTest, SamplesAsCPython) {
  const SampleCase cases[] = {
      {5, 0, {}, {}},
      {1, 1, {0}, {0}},
      {10, 3, {7, 1, 0}, {1, 0, 9}},
      {21, 5, {14, 3, 0, 2, 1}, {2, 3, 11, 7, 0}},
      {22, 5, {14, 3, 0, 2, 18}, {1, 21, 2, 3, 11}},
      {85, 6, {56, 14, 0, 11, 74, 4}, {10, 12, 45, 30, 2, 3}},
      {86, 6, {56, 14, 0, 11, 74, 4}, {85, 10, 12, 45, 30, 2}},
      {100, 8, {99, 56, 14, 0, 11, 74, 4, 85}, {88, 10, 12, 98, 45, 30, 2, 3}},
      {200, 5, {199, 112, 29, 1, 23}, {149, 8, 171, 177, 21}},
      {7473, 5, {6374, 3610, 957, 61, 742}, {7462, 6610, 4769, 286, 5501}},
  };
  for (const SampleCase& c : cases) {
    PythonRandom random(1234);
    EXPECT_THAT(random.Sample(c.population, c.count), ElementsAreArray(c.first)) << c.population;
    EXPECT_THAT(random.Sample(c.population, c.count), ElementsAreArray(c.second)) << c.population;
  }
}

TEST(PythonRandomTest, StaysInStepAcrossManyRefills) {
  PythonRandom random(1234);
  for (int i = 0; i < 499; ++i) random.Sample(200, 5);
  EXPECT_THAT(random.Sample(200, 5), ElementsAre(198, 44, 34, 26, 94));
}

}  // namespace
}  // namespace tessera
