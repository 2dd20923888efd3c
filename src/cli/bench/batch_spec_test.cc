#include "cli/bench/batch_spec.h"

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(BatchSpec, Segments) {
  const struct {
    const char* text;
    std::vector<RequestShape> want;
  } kCases[] = {
      {"q1", {{1, 1}}},
      {"q2k", {{2048, 2048}}},
      {"q1s4k", {{1, 4096}}},
      {"2q16s48", {{16, 48}, {16, 48}}},
      {"2q2k_3q1s1k", {{2048, 2048}, {2048, 2048}, {1, 1024}, {1, 1024}, {1, 1024}}},
      {"3q1s10-20", {{1, 10}, {1, 15}, {1, 20}}},
      {"1q1s10-20", {{1, 20}}},
  };
  for (const auto& c : kCases) {
    const auto got = ParseBatchSpec(c.text);
    ASSERT_TRUE(got.ok()) << c.text << ": " << got.error().message;
    EXPECT_EQ(*got, c.want) << c.text;
  }
}

TEST(BatchSpec, MistakesAreNamed) {
  for (const char* text :
       {"", "_", "q", "2", "2x1", "q0", "0q1", "q1s", "q4s2", "q1s4-2", "q1s4-", "q1_", "q1s1kk",
        "q99999999999999999999", "200000q1", "q1s17000k", "-1q1", "q1 "}) {
    const auto got = ParseBatchSpec(text);
    ASSERT_FALSE(got.ok()) << text;
    EXPECT_NE(got.error().message.find("in a batch is wrong"), std::string::npos);
  }
}

}  // namespace
}  // namespace tessera
