#include "device/bandwidth.h"

#include <gtest/gtest.h>

#include <limits>
#include <utility>

namespace tessera {
namespace {

TEST(ReadBandwidth, IsPositiveForAnySizeAndTeam) {
  for (int threads : {1, 2, 3}) {
    ThreadPool pool(ThreadPool::Options{.num_threads = threads});
    for (int64_t bytes : {int64_t{4096} * 3, (int64_t{1} << 20) + 77, int64_t{16} << 20}) {
      for (int passes : {1, 4}) {
        const Result<ReadBandwidth> measured = MeasureReadBandwidth(pool, bytes, passes);
        ASSERT_TRUE(measured.ok()) << measured.error().message;
        EXPECT_GT(measured->median, 0.0);
        EXPECT_GE(measured->best, measured->median);
        EXPECT_LT(measured->best, 1e5);
        for (int64_t piece : {64, 4096}) {
          const auto paged = MeasurePagedReadBandwidth(pool, bytes, piece, passes);
          ASSERT_TRUE(paged.ok()) << paged.error().message;
          EXPECT_GT(paged->median, 0.0);
          EXPECT_GE(paged->best, paged->median);
        }
      }
    }
  }
}

TEST(ReadBandwidth, RefusesWhatItCannotMeasure) {
  ThreadPool pool(ThreadPool::Options{.num_threads = 2});
  const struct {
    int64_t bytes;
    int passes;
    ErrorCode code;
  } cases[] = {
      {0, 1, ErrorCode::kInvalidArgument},
      {-1, 1, ErrorCode::kInvalidArgument},
      {8191, 1, ErrorCode::kInvalidArgument},
      {1 << 20, 0, ErrorCode::kInvalidArgument},
      {std::numeric_limits<int64_t>::max(), 1, ErrorCode::kOutOfMemory},
  };
  for (const auto& c : cases) {
    const Result<ReadBandwidth> refused = MeasureReadBandwidth(pool, c.bytes, c.passes);
    ASSERT_FALSE(refused.ok()) << c.bytes;
    EXPECT_EQ(refused.error().code, c.code) << refused.error().message;
  }
  for (const auto& [bytes, piece] : {std::pair<int64_t, int64_t>{1 << 20, 0},
                                     {1 << 20, 32},
                                     {1 << 20, 200},
                                     {1 << 20, -128},
                                     {4096, 4096},
                                     {0, 128}}) {
    EXPECT_FALSE(MeasurePagedReadBandwidth(pool, bytes, piece).ok()) << bytes << " " << piece;
  }
}

}  // namespace
}  // namespace tessera
