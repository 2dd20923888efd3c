#include "base/strided_view.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace tessera {
namespace {

std::vector<int> Iota(size_t count) {
  std::vector<int> values(count);
  std::iota(values.begin(), values.end(), 0);
  return values;
}

TEST(StridedView, DenseIsRowMajor) {
  std::vector<int> values = Iota(24);
  const StridedView<int, 3> view(values.data(), {2, 3, 4});
  EXPECT_EQ(view.strides(), (StridedView<int, 3>::Extents{12, 4, 1}));
  EXPECT_EQ(view.count(), 24);
  EXPECT_TRUE(view.IsDense());
  EXPECT_EQ(view(1, 2, 3), 23);
  view(0, 1, 2) = -1;
  EXPECT_EQ(values[6], -1);
}

TEST(StridedView, TakesAnyStrides) {
  std::vector<int> values = Iota(12);
  const StridedView<int, 2> transposed(values.data(), {4, 3}, {1, 4});
  EXPECT_EQ(transposed(3, 1), 7);
  EXPECT_FALSE(transposed.IsDense());
  const StridedView<int, 2> broadcast(values.data() + 5, {100, 2}, {0, 1});
  EXPECT_EQ(broadcast(99, 1), 6);
  const StridedView<int, 1> reversed(values.data() + 11, {12}, {-1});
  EXPECT_EQ(reversed(0), 11);
  EXPECT_EQ(reversed[11], 0);
}

TEST(StridedView, RowsAreViews) {
  std::vector<int> values = Iota(24);
  const StridedView<int, 3> view(values.data(), {2, 3, 4});
  EXPECT_EQ(view[1][2][3], 23);
  EXPECT_EQ(view[1].data(), values.data() + 12);
  EXPECT_EQ(view[1].size(0), 3);
  EXPECT_EQ(view[1].stride(0), 4);
}

TEST(StridedView, MutableServesAsConst) {
  std::vector<int> values = Iota(4);
  const StridedView<int, 1> view(values.data(), {4});
  const StridedView<const int, 1> constant = view;
  EXPECT_EQ(constant(2), 2);
}

TEST(StridedView, DensenessIgnoresSingleElements) {
  std::vector<int> values = Iota(8);
  EXPECT_TRUE((StridedView<int, 3>(values.data(), {1, 8, 1}, {99, 1, -5}).IsDense()));
  EXPECT_TRUE((StridedView<int, 2>(values.data(), {0, 8}, {7, 7}).IsDense()));
  EXPECT_FALSE((StridedView<int, 2>(values.data(), {2, 2}, {4, 1}).IsDense()));
}

TEST(StridedView, EmptyAndDefault) {
  const StridedView<float, 2> none;
  EXPECT_EQ(none.count(), 0);
  EXPECT_EQ(none.data(), nullptr);
  const StridedView<float, 2> empty(nullptr, {0, 5});
  EXPECT_EQ(empty.count(), 0);
}

TEST(StridedView, OffsetsPass32Bits) {
  // Only the address is computed, nothing is read.
  std::vector<char> values(1);
  const StridedView<char, 3> view(values.data(), {3, 2, 1},
                                  {int64_t{1} << 31, int64_t{1} << 32, 1});
  EXPECT_EQ(view[0].stride(0), int64_t{1} << 32);
  const StridedView<char, 2> big(nullptr, {70000, 70000});
  EXPECT_EQ(big.count(), int64_t{4900000000});
  EXPECT_EQ(big.stride(0), 70000);
}

TEST(StridedViewDeathTest, RefusesBadShapesAndIndices) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  std::vector<int> values = Iota(6);
  using View = StridedView<int, 2>;
  EXPECT_DEATH(View(values.data(), {-1, 6}), "must not be negative");
#ifndef NDEBUG
  const View view(values.data(), {2, 3});
  EXPECT_DEATH((void)view(2, 0), "outside");
  EXPECT_DEATH((void)view(0, 3), "outside");
  EXPECT_DEATH((void)view(-1, 0), "outside");
  EXPECT_DEATH((void)view[2], "outside");
#endif
}

}  // namespace
}  // namespace tessera
