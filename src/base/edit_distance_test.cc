#include "base/edit_distance.h"

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(EditDistance, CountsInsertionsDeletionsAndChanges) {
  EXPECT_EQ(EditDistance("", ""), 0);
  EXPECT_EQ(EditDistance("", "abc"), 3);
  EXPECT_EQ(EditDistance("abc", ""), 3);
  EXPECT_EQ(EditDistance("same", "same"), 0);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3);
}

}  // namespace
}  // namespace tessera
