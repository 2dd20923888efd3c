#include "cli/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace tessera {
namespace {

TEST(MachineTest, ReadsMeminfo) {
  const char* text = "MemTotal:       16303432 kB\nMemFree:  1 kB\nMemAvailable:   12 kB\n";
  EXPECT_EQ(MemInfoBytes(text, "MemTotal"), int64_t{16303432} * 1024);
  EXPECT_EQ(MemInfoBytes(text, "MemAvailable"), 12 * 1024);
  EXPECT_EQ(MemInfoBytes(text, "Available"), -1);
  EXPECT_EQ(MemInfoBytes("", "MemTotal"), -1);
  EXPECT_EQ(MemInfoBytes("MemTotal:", "MemTotal"), -1);
}

TEST(MachineTest, ReadsControlGroupLimits) {
  EXPECT_EQ(CgroupLimitBytes("max\n"), -1);
  EXPECT_EQ(CgroupLimitBytes(""), -1);
  EXPECT_EQ(CgroupLimitBytes("9223372036854771712\n"), -1);
  EXPECT_EQ(CgroupLimitBytes("1073741824\n"), 1073741824);
}

TEST(MachineTest, KnowsThisMachine) {
  const MemoryFacts facts = ReadMemoryFacts();
  EXPECT_GT(facts.total_bytes, 0);
  EXPECT_GT(facts.available_bytes, 0);
}

TEST(MachineTest, WarnsOfMisspelledVariables) {
  EXPECT_EQ(VariableWarning("TESSERA_MODEL"), "");
  EXPECT_THAT(VariableWarning("TESSERA_ATTENTION_BACKENDS"),
              ::testing::HasSubstr("TESSERA_ATTENTION_BACKEND is probably meant"));
  EXPECT_EQ(VariableWarning("TESSERA_SOMETHING_ELSE_ENTIRELY"),
            "TESSERA_SOMETHING_ELSE_ENTIRELY is set, but nothing reads it");
  setenv("TESSERA_MODLE", "x", 1);
  EXPECT_THAT(TesseraVariables(), ::testing::Contains(::testing::Pair("TESSERA_MODLE", "x")));
}

}  // namespace
}  // namespace tessera
