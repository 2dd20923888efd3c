#include "tessera/dtype.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A format by its definition, in exact double arithmetic.
struct Format {
  DType type;
  int exponent_bits;
  int mantissa_bits;
  int bias;
  bool has_infinity;         // the largest exponent is kept for infinity and NaN
  bool only_minus_zero_nan;  // fnuz
  bool saturates;            // overflow gives the largest finite value
};

constexpr Format kFormats[] = {
    {DType::kFloat16, 5, 10, 15, true, false, false},
    {DType::kBFloat16, 8, 7, 127, true, false, false},
    {DType::kE4M3FN, 4, 3, 7, false, false, true},
    {DType::kE4M3FNUZ, 4, 3, 8, false, true, true},
    {DType::kE5M2, 5, 2, 15, true, false, true},
};

int TotalBits(const Format& f) { return 1 + f.exponent_bits + f.mantissa_bits; }

double Define(const Format& f, uint32_t code) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const uint32_t mantissa = code & ((1u << f.mantissa_bits) - 1u);
  const int exponent = static_cast<int>((code >> f.mantissa_bits) & ((1u << f.exponent_bits) - 1u));
  const double sign = (code >> (TotalBits(f) - 1)) != 0 ? -1.0 : 1.0;
  const int top = (1 << f.exponent_bits) - 1;
  if (f.only_minus_zero_nan) {
    if (code == 0x80) return nan;
  } else if (f.has_infinity) {
    if (exponent == top) return mantissa == 0 ? sign * HUGE_VAL : nan;
  } else if (exponent == top && mantissa == (1u << f.mantissa_bits) - 1u) {
    return nan;
  }
  const double fraction = static_cast<double>(mantissa) / std::ldexp(1.0, f.mantissa_bits);
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - f.bias);
  return sign * std::ldexp(1.0 + fraction, exponent - f.bias);
}

// The finite non-negative values with their codes, ascending.
std::map<double, uint32_t> FiniteValues(const Format& f) {
  std::map<double, uint32_t> values;
  for (uint32_t code = 0; code < 1u << (TotalBits(f) - 1); ++code) {
    const double value = Define(f, code);
    if (std::isfinite(value)) values[value] = code;
  }
  return values;
}

// The code that rounding to nearest, ties to even, gives; by search among all values.
uint32_t Nearest(const Format& f, const std::map<double, uint32_t>& values, double number) {
  const uint32_t sign_bit = 1u << (TotalBits(f) - 1);
  const bool negative = std::signbit(number);
  const auto with_sign = [&](uint32_t code) {
    if (f.only_minus_zero_nan && code == 0) return 0u;
    return negative ? code | sign_bit : code;
  };
  const double magnitude = std::fabs(number);
  const auto [largest, largest_code] = *values.rbegin();
  const auto above = values.lower_bound(magnitude);
  if (above == values.end()) {
    if (f.saturates) return with_sign(largest_code);
    // The value that would follow the largest one decides where infinity begins.
    const double step = largest - std::prev(values.end(), 2)->first;
    return with_sign(magnitude < largest + step / 2 ? largest_code : largest_code + 1);
  }
  if (above->first == magnitude) return with_sign(above->second);
  const auto below = std::prev(above);
  const double down = magnitude - below->first;
  const double up = above->first - magnitude;
  if (down != up) return with_sign(down < up ? below->second : above->second);
  return with_sign((below->second & 1u) == 0 ? below->second : above->second);
}

uint32_t StoreOne(DType type, float value) {
  uint16_t bits = 0;
  StoreFromFloat(type, &bits, 0, value);
  return bits;
}

float LoadOne(DType type, uint32_t code) {
  const uint16_t bits = static_cast<uint16_t>(code);
  return LoadAsFloat(type, &bits, 0);
}

class FormatTest : public testing::TestWithParam<Format> {};

TEST_P(FormatTest, DecodesEveryCodeAsDefined) {
  const Format& f = GetParam();
  for (uint32_t code = 0; code < 1u << TotalBits(f); ++code) {
    const double expected = Define(f, code);
    const float decoded = LoadOne(f.type, code);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(decoded)) << std::hex << code;
    } else {
      ASSERT_EQ(static_cast<double>(decoded), expected) << std::hex << code;
      ASSERT_EQ(std::signbit(decoded), std::signbit(expected)) << std::hex << code;
    }
  }
}

TEST_P(FormatTest, EveryCodeSurvivesTheRoundTrip) {
  const Format& f = GetParam();
  for (uint32_t code = 0; code < 1u << TotalBits(f); ++code) {
    const float value = LoadOne(f.type, code);
    const uint32_t again = StoreOne(f.type, value);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(LoadOne(f.type, again))) << std::hex << code;
    } else if (std::isinf(value) && f.saturates) {
      ASSERT_EQ(std::fabs(LoadOne(f.type, again)), FiniteValues(f).rbegin()->first);
      ASSERT_EQ(std::signbit(LoadOne(f.type, again)), std::signbit(value));
    } else {
      ASSERT_EQ(again, code);
    }
  }
}

TEST_P(FormatTest, RoundsToNearestEvenAroundEveryMidpoint) {
  const Format& f = GetParam();
  const std::map<double, uint32_t> values = FiniteValues(f);
  for (auto low = values.begin(); std::next(low) != values.end(); ++low) {
    // Exact: a midpoint needs one bit more than the format has, also among bfloat16's denormals.
    const double middle = (low->first + std::next(low)->first) / 2;
    const float tie = static_cast<float>(middle);
    const bool is_exact = static_cast<double>(tie) == middle;
    ASSERT_TRUE(is_exact);
    for (float number : {tie, std::nextafter(tie, 0.0f), std::nextafter(tie, kInfinity)}) {
      for (float signed_number : {number, -number}) {
        ASSERT_EQ(StoreOne(f.type, signed_number), Nearest(f, values, signed_number))
            << std::hexfloat << signed_number;
      }
    }
  }
}

TEST_P(FormatTest, RoundsArbitraryFloats) {
  const Format& f = GetParam();
  const std::map<double, uint32_t> values = FiniteValues(f);
  constexpr uint64_t kStep = 65521;  // a prime: reaches all exponents with all kinds of mantissas
  for (uint64_t bits = 0; bits <= 0xffffffffu; bits += kStep) {
    const float number = std::bit_cast<float>(static_cast<uint32_t>(bits));
    if (!std::isfinite(number)) continue;
    ASSERT_EQ(StoreOne(f.type, number), Nearest(f, values, number)) << std::hexfloat << number;
  }
}

TEST_P(FormatTest, TreatsTheEndsAsAgreed) {
  const Format& f = GetParam();
  const std::map<double, uint32_t> values = FiniteValues(f);
  const double largest = values.rbegin()->first;
  const double step = largest - std::next(values.rbegin())->first;
  const float max_float = std::numeric_limits<float>::max();
  for (double sign : {1.0, -1.0}) {
    for (float beyond : {kInfinity, max_float}) {
      const float stored = LoadOne(f.type, StoreOne(f.type, static_cast<float>(sign) * beyond));
      EXPECT_EQ(stored, f.saturates ? static_cast<float>(sign * largest)
                                    : static_cast<float>(sign) * kInfinity);
    }
    // The first value that no longer rounds down to the largest one, and the last one that does.
    const float limit = static_cast<float>(sign * (largest + step / 2));
    const float inside = std::nextafter(limit, 0.0f);
    EXPECT_EQ(LoadOne(f.type, StoreOne(f.type, inside)), static_cast<float>(sign * largest));
    EXPECT_EQ(std::isinf(LoadOne(f.type, StoreOne(f.type, limit))), !f.saturates);
  }
  for (uint32_t nan : {0x7fc00000u, 0xffc00000u, 0x7f800001u, 0xff800001u, 0x7fffffffu}) {
    EXPECT_TRUE(std::isnan(LoadOne(f.type, StoreOne(f.type, std::bit_cast<float>(nan)))));
  }
  const uint32_t minus_zero = f.only_minus_zero_nan ? 0u : 1u << (TotalBits(f) - 1);
  EXPECT_EQ(StoreOne(f.type, 0.0f), 0u);
  EXPECT_EQ(StoreOne(f.type, -0.0f), minus_zero);
  EXPECT_EQ(StoreOne(f.type, -std::numeric_limits<float>::denorm_min()), minus_zero);
}

TEST_P(FormatTest, BulkAgreesWithSingleElements) {
  const Format& f = GetParam();
  for (int64_t count : {0, 1, 7, 8, 63, 1000}) {
    std::vector<float> source(static_cast<size_t>(count));
    for (size_t i = 0; i < source.size(); ++i) {
      source[i] = std::ldexp(1.0f + 0.001f * static_cast<float>(i), static_cast<int>(i % 40) - 28);
    }
    const size_t bytes = source.size() * SizeOf(f.type);
    std::vector<unsigned char> bulk(bytes + 1, 0xab);
    std::vector<unsigned char> single(bytes + 1, 0xab);
    ConvertFromFloat(f.type, source.data(), count, bulk.data());
    for (int64_t i = 0; i < count; ++i) {
      StoreFromFloat(f.type, single.data(), i, source[static_cast<size_t>(i)]);
    }
    EXPECT_EQ(bulk, single);
    std::vector<float> back(source.size() + 1, -7.0f);
    ConvertToFloat(f.type, bulk.data(), count, back.data());
    for (int64_t i = 0; i < count; ++i) {
      ASSERT_EQ(back[static_cast<size_t>(i)], LoadAsFloat(f.type, single.data(), i));
    }
    EXPECT_EQ(back.back(), -7.0f);
  }
}

INSTANTIATE_TEST_SUITE_P(All, FormatTest, testing::ValuesIn(kFormats),
                         [](const testing::TestParamInfo<Format>& param) {
                           return std::string(ToString(param.param.type));
                         });

TEST(DType, NamedFunctionsAgreeWithThoseByType) {
  for (uint32_t code = 0; code < 0x10000; ++code) {
    const uint16_t wide = static_cast<uint16_t>(code);
    const uint8_t narrow = static_cast<uint8_t>(code);
    const auto same = [](float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); };
    ASSERT_TRUE(same(Float16ToFloat(wide), LoadOne(DType::kFloat16, code)));
    ASSERT_TRUE(same(BFloat16ToFloat(wide), LoadOne(DType::kBFloat16, code)));
    ASSERT_TRUE(same(E4M3FNToFloat(narrow), LoadOne(DType::kE4M3FN, narrow)));
    ASSERT_TRUE(same(E4M3FNUZToFloat(narrow), LoadOne(DType::kE4M3FNUZ, narrow)));
    ASSERT_TRUE(same(E5M2ToFloat(narrow), LoadOne(DType::kE5M2, narrow)));
    const float value = std::bit_cast<float>(code * 0x10001u);
    ASSERT_EQ(FloatToFloat16(value), StoreOne(DType::kFloat16, value));
    ASSERT_EQ(FloatToBFloat16(value), StoreOne(DType::kBFloat16, value));
    ASSERT_EQ(FloatToE4M3FN(value), StoreOne(DType::kE4M3FN, value));
    ASSERT_EQ(FloatToE4M3FNUZ(value), StoreOne(DType::kE4M3FNUZ, value));
    ASSERT_EQ(FloatToE5M2(value), StoreOne(DType::kE5M2, value));
  }
}

TEST(DType, Float32IsCopiedBitForBit) {
  const std::vector<uint32_t> bits = {0, 0x80000000u, 1, 0x7f800001u, 0xffffffffu, 0x3f800000u};
  std::vector<uint32_t> copy(bits.size());
  std::vector<float> floats(bits.size());
  ConvertToFloat(DType::kFloat32, bits.data(), static_cast<int64_t>(bits.size()), floats.data());
  ConvertFromFloat(DType::kFloat32, floats.data(), static_cast<int64_t>(bits.size()), copy.data());
  EXPECT_EQ(copy, bits);
}

TEST(DType, Int8RoundsToEvenAndSaturates) {
  const struct {
    float value;
    int expected;
  } cases[] = {
      {0.0f, 0},          {-0.0f, 0},         {0.5f, 0},     {-0.5f, 0},      {1.5f, 2},
      {2.5f, 2},          {-1.5f, -2},        {-2.5f, -2},   {0.50001f, 1},   {126.5f, 126},
      {127.4f, 127},      {127.5f, 127},      {128.0f, 127}, {-128.0f, -128}, {-128.5f, -128},
      {-129.0f, -128},    {-127.5f, -128},    {1e30f, 127},  {-1e30f, -128},  {kInfinity, 127},
      {-kInfinity, -128}, {std::nanf(""), 0}, {1e-40f, 0},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(FloatToInt8(c.value), c.expected) << c.value;
    int8_t stored = 55;
    StoreFromFloat(DType::kInt8, &stored, 0, c.value);
    EXPECT_EQ(stored, c.expected) << c.value;
  }
  for (int number = -128; number <= 127; ++number) {
    const int8_t stored = static_cast<int8_t>(number);
    EXPECT_EQ(LoadAsFloat(DType::kInt8, &stored, 0), static_cast<float>(number));
    EXPECT_EQ(FloatToInt8(static_cast<float>(number)), number);
  }
}

TEST(DType, NamesAreUnderstoodBothWays) {
  for (DType type : {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kE4M3FN,
                     DType::kE4M3FNUZ, DType::kE5M2, DType::kInt8}) {
    const Result<DType> parsed = ParseDType(ToString(type));
    ASSERT_TRUE(parsed.ok()) << ToString(type);
    EXPECT_EQ(*parsed, type);
  }
  const std::pair<const char*, DType> others[] = {
      {"BF16", DType::kBFloat16},   {"half", DType::kFloat16},      {"fp8", DType::kE4M3FN},
      {"F8_E5M2", DType::kE5M2},    {"fp32", DType::kFloat32},      {"I8", DType::kInt8},
      {"fp8_e4m3", DType::kE4M3FN}, {"e4m3fnuz", DType::kE4M3FNUZ},
  };
  for (const auto& [name, type] : others) {
    const Result<DType> parsed = ParseDType(name);
    ASSERT_TRUE(parsed.ok()) << name;
    EXPECT_EQ(*parsed, type);
  }
  for (const char* wrong : {"", "bf", "bf16 ", "int4", "fp8_e4m3fnu", "float64"}) {
    const Result<DType> parsed = ParseDType(wrong);
    ASSERT_FALSE(parsed.ok()) << wrong;
    EXPECT_EQ(parsed.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(parsed.error().message.find("bfloat16"), std::string::npos);
  }
}

TEST(DType, Sizes) {
  EXPECT_EQ(SizeOf(DType::kFloat32), 4u);
  EXPECT_EQ(SizeOf(DType::kFloat16), 2u);
  EXPECT_EQ(SizeOf(DType::kBFloat16), 2u);
  EXPECT_EQ(SizeOf(DType::kE4M3FN), 1u);
  EXPECT_EQ(SizeOf(DType::kE4M3FNUZ), 1u);
  EXPECT_EQ(SizeOf(DType::kE5M2), 1u);
  EXPECT_EQ(SizeOf(DType::kInt8), 1u);
}

}  // namespace
}  // namespace tessera
