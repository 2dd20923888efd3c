#include "base/environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace tessera {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Environment With(const std::string& value) { return Environment({{"TESSERA_X", value}}); }

TEST(Environment, StringsAndTheUnset) {
  EXPECT_EQ(With("a b=c").String("TESSERA_X"), "a b=c");
  EXPECT_EQ(With("").String("TESSERA_X"), std::nullopt);
  EXPECT_EQ(With("a").String("TESSERA_Y"), std::nullopt);
  EXPECT_EQ(Environment().String(""), std::nullopt);
}

TEST(Environment, Integers) {
  const auto parse = [](const char* text) { return With(text).Int("TESSERA_X", 5, -10, 100); };
  EXPECT_EQ(*parse(""), 5);
  EXPECT_EQ(*parse("0"), 0);
  EXPECT_EQ(*parse("-10"), -10);
  EXPECT_EQ(*parse("100"), 100);
  for (const char* bad :
       {"101", "-11", "7x", " 7", "0x7", "1.5", "+", "-", "99999999999999999999"}) {
    const Result<int64_t> parsed = parse(bad);
    ASSERT_FALSE(parsed.ok()) << bad;
    EXPECT_EQ(parsed.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(parsed.error().message, HasSubstr("TESSERA_X"));
    EXPECT_THAT(parsed.error().message, HasSubstr("from -10 to 100"));
    EXPECT_THAT(parsed.error().message, HasSubstr(bad));
  }
}

TEST(Environment, Booleans) {
  for (const char* yes : {"1", "true", "TRUE", "Yes", "on"}) {
    EXPECT_TRUE(*With(yes).Bool("TESSERA_X", false)) << yes;
  }
  for (const char* no : {"0", "false", "NO", "Off"}) {
    EXPECT_FALSE(*With(no).Bool("TESSERA_X", true)) << no;
  }
  EXPECT_TRUE(*With("").Bool("TESSERA_X", true));
  EXPECT_FALSE(*With("").Bool("TESSERA_X", false));
  for (const char* bad : {"2", "y", "tru", "1 "}) {
    EXPECT_THAT(With(bad).Bool("TESSERA_X", true).error().message, HasSubstr("must be 1 or 0"));
  }
}

TEST(Environment, NamesWithAPrefix) {
  const Environment environment(
      {{"TESSERA_B", "1"}, {"TESSERA_A", ""}, {"TESSERA", "1"}, {"TESSERAA", "1"}, {"Z", "1"}});
  EXPECT_THAT(environment.NamesWithPrefix("TESSERA_"), ElementsAre("TESSERA_A", "TESSERA_B"));
  EXPECT_THAT(environment.NamesWithPrefix("TESSERA_C"), ElementsAre());
  EXPECT_EQ(environment.NamesWithPrefix("").size(), 5u);
}

TEST(Environment, ReadsTheProcess) {
  ASSERT_EQ(setenv("TESSERA_ENVIRONMENT_TEST", "a=b", 1), 0);
  const Environment environment = Environment::OfProcess();
  ASSERT_EQ(unsetenv("TESSERA_ENVIRONMENT_TEST"), 0);
  EXPECT_EQ(environment.String("TESSERA_ENVIRONMENT_TEST"), "a=b");
  EXPECT_THAT(environment.NamesWithPrefix("TESSERA_ENVIRONMENT_"),
              ElementsAre("TESSERA_ENVIRONMENT_TEST"));
  EXPECT_EQ(Environment::OfProcess().String("TESSERA_ENVIRONMENT_TEST"), std::nullopt);
}

}  // namespace
}  // namespace tessera
