#include "cli/text.h"

#include <gtest/gtest.h>

#include "cli/progress.h"

namespace tessera {
namespace {

TEST(TextTest, ParsesSizes) {
  const std::pair<const char*, int64_t> good[] = {
      {"0", 0},
      {"4096", 4096},
      {"2GiB", int64_t{2} << 30},
      {"512MB", 512000000},
      {"1.5 k", 1500},
      {"1Ki", 1024},
      {"3b", 3},
      {"1tib", int64_t{1} << 40},
      {"64 M", 64000000},
  };
  for (const auto& [text, want] : good) {
    const auto bytes = ParseBytes(text);
    ASSERT_TRUE(bytes.ok()) << text;
    EXPECT_EQ(*bytes, want) << text;
  }
  for (const char* text : {"", "GiB", "-1", "1X", "1iB", "1 G B x", "nan", "inf", "1e30",
                           "99999999T", "1GGB", "0x10"}) {
    const auto bytes = ParseBytes(text);
    EXPECT_FALSE(bytes.ok()) << text;
    if (!bytes.ok()) {
      EXPECT_EQ(bytes.error().code, ErrorCode::kInvalidArgument) << text;
    }
  }
}

TEST(TextTest, FormatsForPeople) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(15087672), "15.1 MB");
  EXPECT_EQ(FormatBytes(2.5e15), "2500.0 TB");
  EXPECT_EQ(FormatSeconds(0.049), "0.05 s");
  EXPECT_EQ(FormatSeconds(59.96), "1 min 00 s");
  EXPECT_EQ(FormatSeconds(7384), "2 h 03 min");
  EXPECT_EQ(FormatSeconds(-1), "?");
  EXPECT_EQ(FormatRate(0), "0.0");
  EXPECT_EQ(FormatRate(999.6), "1,000");
  EXPECT_EQ(FormatRate(12345), "12.3 k");
}

TEST(TextTest, ReadsFilesAndRefusesDirectories) {
  EXPECT_EQ(ReadTextFile("/nonexistent/file").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(ReadTextFile("/").error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(WriteTextFile("/nonexistent/file", "x").error().code, ErrorCode::kIo);
}

TEST(ProgressTest, ShowsShareRateAndTheTimeThatIsLeft) {
  EXPECT_EQ(FormatProgress("eval", 250, 500, 20, false, 10),
            "eval [=====>    ]  250/500  13/s  eta 20.0 s");
  EXPECT_EQ(FormatProgress("eval", 500, 500, 20, false, 4), "eval [====]  500/500  25/s");
  EXPECT_EQ(FormatProgress("eval", 7, 5, 1, false, 4), "eval [====]  7/5  7.0/s");
  EXPECT_EQ(FormatProgress("eval", 0, 0, 0, false, 4), "eval  0  0.0/s");
  EXPECT_EQ(FormatProgress("w", 5000000, 10000000, 1, true, 0),
            "w  5.0 MB/10.0 MB  5.0 MB/s  eta 1.00 s");
}

}  // namespace
}  // namespace tessera
