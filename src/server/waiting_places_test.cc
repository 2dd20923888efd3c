#include "server/waiting_places.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace tessera {
namespace {

using ::testing::HasSubstr;

const ApiError kNone = {.status = 200, .message = "served", .param = "", .code = ""};

TEST(WaitingPlacesTest, OneClientLeavesHalfToOthers) {
  WaitingPlaces places(8);
  PlacesTaken hog, other, vip, more;
  const ApiError alone = places.Take("hog", 5, &more).value_or(kNone);
  EXPECT_EQ(alone.status, 400) << "too many, even alone";
  EXPECT_EQ(alone.param, "n");
  ASSERT_FALSE(places.Take("hog", 4, &hog));
  const ApiError refused = places.Take("hog", 1, &more).value_or(kNone);
  EXPECT_EQ(refused.status, 429);
  EXPECT_THAT(refused.message, HasSubstr("This client has 4 answers waiting"));
  EXPECT_TRUE(places.Take("other", 3, &more)) << "half of the four that are left";
  ASSERT_FALSE(places.Take("other", 2, &other));
  ASSERT_FALSE(places.Take("vip", 1, &vip));
  EXPECT_EQ(places.num_taken(), 7);

  hog.GiveBack(3);
  EXPECT_FALSE(places.Take("other", 1, &more));
  EXPECT_EQ(places.num_taken(), 5);
  other = PlacesTaken();
  hog = std::move(more);
  EXPECT_EQ(places.num_taken(), 2) << "vip's, and one of other's";
  hog = PlacesTaken();
  vip = PlacesTaken();
  EXPECT_EQ(places.num_taken(), 0);
}

TEST(WaitingPlacesTest, ManyClientsFillAllPlaces) {
  constexpr int64_t kPlaces = 5;
  WaitingPlaces places(kPlaces);
  std::vector<PlacesTaken> taken(kPlaces);
  for (size_t i = 0; i < kPlaces; ++i) {
    ASSERT_FALSE(places.Take(std::to_string(i), 1, &taken[i])) << i;
  }
  PlacesTaken more;
  const ApiError refused = places.Take("late", 1, &more).value_or(kNone);
  EXPECT_EQ(refused.status, 429);
  EXPECT_THAT(refused.message, HasSubstr("5 answers waiting already"));
}

TEST(WaitingPlacesTest, ASinglePlaceIsAPlace) {
  WaitingPlaces places(1);
  PlacesTaken one, two;
  EXPECT_FALSE(places.Take("a", 1, &one));
  EXPECT_TRUE(places.Take("a", 1, &two));
  EXPECT_TRUE(places.Take("b", 1, &two));
  one.GiveBack(1);
  EXPECT_FALSE(places.Take("b", 1, &two));
}

}  // namespace
}  // namespace tessera
