#include "tessera/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace tessera {
namespace {

Result<int> Positive(int number) {
  if (number <= 0) return InvalidArgument("not positive");
  return number;
}

Status CheckPositive(int number) {
  TESSERA_RETURN_IF_ERROR(Positive(number));
  return {};
}

Result<std::string> Describe(int first, int second) {
  TESSERA_ASSIGN_OR_RETURN(const int a, Positive(first));
  TESSERA_ASSIGN_OR_RETURN(const int b, Positive(second));
  return std::to_string(a) + "," + std::to_string(b);
}

Result<std::unique_ptr<int>> MakeBoxed(int number) {
  TESSERA_ASSIGN_OR_RETURN(int checked, Positive(number));
  return std::make_unique<int>(checked);
}

TEST(Result, HoldsAValueOrAnError) {
  const Result<int> good = Positive(7);
  EXPECT_TRUE(good.ok());
  EXPECT_TRUE(static_cast<bool>(good));
  EXPECT_EQ(*good, 7);
  const Result<int> bad = Positive(0);
  EXPECT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(bad.error().message, "not positive");
}

TEST(Result, CarriesMoveOnlyValues) {
  Result<std::unique_ptr<int>> boxed = MakeBoxed(3);
  ASSERT_TRUE(boxed.ok());
  EXPECT_EQ(**boxed, 3);
  const std::unique_ptr<int> taken = std::move(boxed).value();
  EXPECT_EQ(*taken, 3);
  EXPECT_FALSE(MakeBoxed(-1).ok());
}

TEST(Result, ArrowReachesMembers) {
  Result<std::string> text = Describe(1, 2);
  EXPECT_EQ(text->size(), 3u);
  text->append("!");
  EXPECT_EQ(text.value(), "1,2!");
}

TEST(Result, MacrosHandErrorsOn) {
  EXPECT_TRUE(CheckPositive(1).ok());
  EXPECT_EQ(CheckPositive(-1).error().message, "not positive");
  EXPECT_TRUE(Describe(1, 2).ok());
  EXPECT_FALSE(Describe(0, 2).ok());
  EXPECT_FALSE(Describe(1, 0).ok());
}

TEST(Result, EveryCodeHasItsMaker) {
  const struct {
    Error error;
    ErrorCode code;
    const char* words;
  } cases[] = {
      {InvalidArgument("m"), ErrorCode::kInvalidArgument, "invalid argument"},
      {NotFound("m"), ErrorCode::kNotFound, "not found"},
      {Unsupported("m"), ErrorCode::kUnsupported, "unsupported"},
      {Corrupt("m"), ErrorCode::kCorrupt, "corrupt"},
      {OutOfMemory("m"), ErrorCode::kOutOfMemory, "out of memory"},
      {IoError("m"), ErrorCode::kIo, "input/output error"},
      {Internal("m"), ErrorCode::kInternal, "internal error"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(c.error.code, c.code);
    EXPECT_EQ(c.error.message, "m");
    EXPECT_STREQ(ToString(c.code), c.words);
  }
}

TEST(ResultDeathTest, MisuseStopsTheProgramWithItsReason) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH((void)Positive(0).value(), "holds an error: not positive");
  EXPECT_DEATH((void)Positive(1).error(), "holds a value");
  EXPECT_DEATH((void)CheckPositive(1).error(), "holds no error");
  EXPECT_DEATH(TESSERA_CHECK(1 + 1 == 3, "sums"), "1 \\+ 1 == 3: sums");
}

}  // namespace
}  // namespace tessera
