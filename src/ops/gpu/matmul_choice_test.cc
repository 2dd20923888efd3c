#include "ops/gpu/matmul_choice.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace tessera::ops_gpu {
namespace {

constexpr int64_t kRoom = int64_t{4} << 20;

TEST(MatmulChoice, PartsCoverKAndFitTheirRoom) {
  for (const int64_t rows : {1, 8, 16, 17, 64, 65, 200, 8192}) {
    for (const int64_t n : {1, 16, 300, 4096, 28672, 128256}) {
      for (const int64_t k : {1, 127, 128, 4096, 14336, 14337}) {
        for (const int32_t units : {1, 132, 304}) {
          const MatmulChoice c = ChooseMatmul(
              {.rows = rows, .n = n, .k = k, .units = units, .partial_elements = kRoom});
          ASSERT_GE(c.splits, 1);
          const int64_t parts = int64_t{c.splits} * c.k_parts;
          ASSERT_GE(parts * c.k_per_split, k);
          if (c.kernel != MatmulKernel::kOne) {
            ASSERT_LT((parts - 1) * c.k_per_split, k);
          }
          ASSERT_EQ(c.k_per_split % 128, 0);
          if (c.splits > 1) {
            ASSERT_LE(c.splits * rows * n, kRoom);
          }
        }
      }
    }
  }
}

TEST(MatmulChoice, TwoToSixteenRowsAreOneSumWithoutALibrary) {
  for (const int64_t n : {64, 1024, 4096, 128256}) {
    const MatmulChoice two =
        ChooseMatmul({.rows = 2, .n = n, .k = 4096, .units = 132, .partial_elements = kRoom});
    for (int64_t rows = 3; rows <= kStreamedRows; ++rows) {
      const MatmulChoice c =
          ChooseMatmul({.rows = rows, .n = n, .k = 4096, .units = 132, .partial_elements = kRoom});
      EXPECT_EQ(c.kernel, two.kernel);
      EXPECT_EQ(c.splits, two.splits);
    }
  }
}

TEST(MatmulChoice, OrderedPartsDependOnKAlone) {
  for (const int32_t waves : {4, 8}) {
    for (const int64_t k : {1, 128, 1000, 4096, 14337}) {
      int64_t part = 0;
      for (const int64_t rows : {1, 2, 16, 17, 64, 65, 200, 8192}) {
        for (const int64_t n : {1, 300, 4096, 28672}) {
          const MatmulChoice c = ChooseMatmul({.rows = rows,
                                               .n = n,
                                               .k = k,
                                               .units = 132,
                                               .library = true,
                                               .partial_elements = kRoom,
                                               .ordered_parts = waves});
          if (part == 0) part = c.k_per_part;
          EXPECT_EQ(c.k_per_part, part);
          EXPECT_EQ(part % 128, 0);
          EXPECT_GE(waves * part, k);
          EXPECT_TRUE(c.splits == 1 || c.k_per_split == part);
          EXPECT_GE(c.splits * c.k_per_split, k);
          EXPECT_LE(c.splits > 1 ? c.splits * rows * n : 0, kRoom);
          EXPECT_TRUE(c.kernel == MatmulKernel::kFew16 || c.kernel == MatmulKernel::kFew32 ||
                      c.kernel == MatmulKernel::kTile64Ordered ||
                      c.kernel == MatmulKernel::kTile128Ordered);
        }
      }
    }
  }
}

TEST(MatmulChoice, LibraryTakesMoreThanOneRow) {
  EXPECT_EQ(ChooseMatmul({.rows = 1, .n = 64, .k = 64, .library = true}).kernel,
            MatmulKernel::kOne);
  EXPECT_EQ(ChooseMatmul({.rows = 2, .n = 64, .k = 64, .library = true}).kernel,
            MatmulKernel::kLibrary);
  EXPECT_EQ(ChooseMatmul({.rows = 17, .n = 64, .k = 64, .library = true}).kernel,
            MatmulKernel::kLibrary);
  EXPECT_EQ(ChooseMatmul({.rows = 8192, .n = 4096, .k = 4096, .units = 132}).kernel,
            MatmulKernel::kTile128);
  EXPECT_EQ(ChooseMatmul({.rows = 17, .n = 4096, .k = 4096, .units = 132}).kernel,
            MatmulKernel::kTile64);
}

}  // namespace
}  // namespace tessera::ops_gpu
