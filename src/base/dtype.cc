#include "tessera/dtype.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <string>

namespace tessera {
namespace {

// A sign bit, then the exponent, then kMantissaBits bits of mantissa. The code without its sign
// grows with the value, which is what lets saturation be a minimum of codes.
struct Float16Format {
  using Bits = uint16_t;
  static constexpr int kMantissaBits = 10;
  static constexpr int kExponentBias = 15;
  static constexpr uint32_t kSignBit = 0x8000;
  static constexpr uint32_t kOverflow = 0x7c00;  // what too large values become: infinity
  static constexpr uint32_t kNan = 0x7e00;
  static constexpr bool kSignedZeroAndNan = true;
};

struct E4M3FNFormat {
  using Bits = uint8_t;
  static constexpr int kMantissaBits = 3;
  static constexpr int kExponentBias = 7;
  static constexpr uint32_t kSignBit = 0x80;
  static constexpr uint32_t kOverflow = 0x7e;  // 448
  static constexpr uint32_t kNan = 0x7f;
  static constexpr bool kSignedZeroAndNan = true;
};

struct E4M3FNUZFormat {
  using Bits = uint8_t;
  static constexpr int kMantissaBits = 3;
  static constexpr int kExponentBias = 8;
  static constexpr uint32_t kSignBit = 0x80;
  static constexpr uint32_t kOverflow = 0x7f;  // 240
  static constexpr uint32_t kNan = 0x80;       // the code that would be -0
  static constexpr bool kSignedZeroAndNan = false;
};

struct E5M2Format {
  using Bits = uint8_t;
  static constexpr int kMantissaBits = 2;
  static constexpr int kExponentBias = 15;
  static constexpr uint32_t kSignBit = 0x80;
  static constexpr uint32_t kOverflow = 0x7b;  // 57344
  static constexpr uint32_t kNan = 0x7e;
  static constexpr bool kSignedZeroAndNan = true;
};

constexpr int kFloatMantissaBits = 23;
constexpr int kFloatExponentBias = 127;
constexpr uint32_t kFloatInfinity = 0x7f800000u;

// `yes` or `no`, by masks: compilers turn a conditional back into a branch if floating-point
// arithmetic that might raise a flag stands before it, and then do not vectorise the loop.
constexpr uint32_t Select(bool condition, uint32_t yes, uint32_t no) {
  const uint32_t mask = 0u - static_cast<uint32_t>(condition);
  return (yes & mask) | (no & ~mask);
}

// Both cases are computed and one is chosen, without branches, so that loops over it vectorise.
template <typename Format>
constexpr typename Format::Bits Encode(float value) {
  constexpr int kShift = kFloatMantissaBits - Format::kMantissaBits;
  constexpr uint32_t kRebias = static_cast<uint32_t>(kFloatExponentBias - Format::kExponentBias)
                               << Format::kMantissaBits;
  constexpr uint32_t kMinNormal =
      static_cast<uint32_t>(kFloatExponentBias + 1 - Format::kExponentBias) << kFloatMantissaBits;
  // The power of two at which a float's last bit is worth one denormal step of the format: adding
  // it makes the addition itself round, and leaves the code in the low bits of the sum.
  constexpr uint32_t kDenormalMagic =
      static_cast<uint32_t>(kFloatExponentBias + kShift + 1 - Format::kExponentBias)
      << kFloatMantissaBits;

  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t sign = (bits >> 31) * Format::kSignBit;

  const uint32_t rounded = magnitude + ((1u << (kShift - 1)) - 1u) + ((magnitude >> kShift) & 1u);
  const uint32_t normal = std::min((rounded >> kShift) - kRebias, Format::kOverflow);
  const uint32_t denormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) +
                                                    std::bit_cast<float>(kDenormalMagic)) -
                            kDenormalMagic;
  uint32_t code = Select(magnitude < kMinNormal, denormal, normal);
  code = Select(magnitude > kFloatInfinity, Format::kNan, code);
  if constexpr (Format::kSignedZeroAndNan) {
    code |= sign;
  } else {
    code |= Select(code == 0, 0u, sign);
    code = Select(magnitude > kFloatInfinity, Format::kNan, code);
  }
  return static_cast<typename Format::Bits>(code);
}

constexpr float DecodeFloat16(uint16_t bits) {
  constexpr int kShift = kFloatMantissaBits - Float16Format::kMantissaBits;
  constexpr uint32_t kRebias =
      static_cast<uint32_t>(kFloatExponentBias - Float16Format::kExponentBias)
      << kFloatMantissaBits;
  constexpr uint32_t kOneExponent = 1u << kFloatMantissaBits;

  const uint32_t sign = (bits & 0x8000u) << 16;
  const uint32_t shifted = (bits & 0x7fffu) << kShift;
  const uint32_t exponent = bits & 0x7c00u;
  const uint32_t normal = shifted + kRebias;
  // Infinity and NaN: the exponent moves from 31 to 255.
  const uint32_t special = (normal + kRebias) | ((bits & 0x3ffu) != 0 ? 0x00400000u : 0u);
  // A denormal has no implicit one: it is given one, and the one's value is taken off again.
  const uint32_t denormal = std::bit_cast<uint32_t>(std::bit_cast<float>(normal + kOneExponent) -
                                                    std::bit_cast<float>(kRebias + kOneExponent));
  const uint32_t finite = Select(exponent == 0, denormal, normal);
  const uint32_t magnitude = Select(exponent == 0x7c00u, special, finite);
  return std::bit_cast<float>(sign | magnitude);
}

// The value of an 8-bit code by the definition of its format.
template <typename Format>
constexpr float Decode8(uint32_t code) {
  const uint32_t magnitude = code & 0x7fu;
  const bool negative = (code & Format::kSignBit) != 0;
  bool is_nan = false;
  if constexpr (Format::kSignedZeroAndNan) {
    constexpr uint32_t kFirstNan = Format::kOverflow == 0x7bu ? 0x7du : Format::kNan;
    is_nan = magnitude >= kFirstNan;
  } else {
    is_nan = code == Format::kNan;
  }
  if (is_nan) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    return negative ? -nan : nan;
  }
  if (magnitude > Format::kOverflow) {
    const float infinity = std::numeric_limits<float>::infinity();
    return negative ? -infinity : infinity;
  }
  const int exponent = static_cast<int>(magnitude >> Format::kMantissaBits);
  const uint32_t mantissa = magnitude & ((1u << Format::kMantissaBits) - 1u);
  const uint32_t significand = exponent == 0 ? mantissa : mantissa | (1u << Format::kMantissaBits);
  const int power = std::max(exponent, 1) - Format::kExponentBias - Format::kMantissaBits;
  const float step =
      std::bit_cast<float>(static_cast<uint32_t>(power + kFloatExponentBias) << kFloatMantissaBits);
  const float value = static_cast<float>(significand) * step;
  return negative ? -value : value;
}

template <typename Format>
constexpr std::array<float, 256> MakeTable() {
  std::array<float, 256> table{};
  for (uint32_t code = 0; code < 256; ++code) table[code] = Decode8<Format>(code);
  return table;
}

constexpr std::array<float, 256> kE4M3FNTable = MakeTable<E4M3FNFormat>();
constexpr std::array<float, 256> kE4M3FNUZTable = MakeTable<E4M3FNUZFormat>();
constexpr std::array<float, 256> kE5M2Table = MakeTable<E5M2Format>();

constexpr int8_t EncodeInt8(float value) {
  // 1.5 * 2^23: in the binade above it a float's last bit is worth one, so the addition rounds.
  constexpr float kMagic = 12582912.0f;
  const float number = value == value ? value : 0.0f;
  const float clamped = std::min(std::max(number, -128.0f), 127.0f);
  return static_cast<int8_t>(std::bit_cast<int32_t>(clamped + kMagic) -
                             std::bit_cast<int32_t>(kMagic));
}

template <typename From, typename To, typename Function>
void ConvertEach(const From* __restrict source, int64_t count, To* __restrict destination,
                 Function function) {
  for (int64_t i = 0; i < count; ++i) destination[i] = function(source[i]);
}

struct NamedDType {
  std::string_view name;
  DType type;
};

// The first name of each type is the one that ToString gives. The others are those of PyTorch,
// safetensors and command lines.
constexpr NamedDType kNames[] = {
    {"float32", DType::kFloat32},
    {"float", DType::kFloat32},
    {"fp32", DType::kFloat32},
    {"f32", DType::kFloat32},
    {"float16", DType::kFloat16},
    {"half", DType::kFloat16},
    {"fp16", DType::kFloat16},
    {"f16", DType::kFloat16},
    {"bfloat16", DType::kBFloat16},
    {"bf16", DType::kBFloat16},
    {"fp8_e4m3fn", DType::kE4M3FN},
    {"fp8", DType::kE4M3FN},
    {"fp8_e4m3", DType::kE4M3FN},
    {"f8_e4m3", DType::kE4M3FN},
    {"e4m3fn", DType::kE4M3FN},
    {"e4m3", DType::kE4M3FN},
    {"float8_e4m3fn", DType::kE4M3FN},
    {"fp8_e4m3fnuz", DType::kE4M3FNUZ},
    {"f8_e4m3fnuz", DType::kE4M3FNUZ},
    {"e4m3fnuz", DType::kE4M3FNUZ},
    {"float8_e4m3fnuz", DType::kE4M3FNUZ},
    {"fp8_e5m2", DType::kE5M2},
    {"f8_e5m2", DType::kE5M2},
    {"e5m2", DType::kE5M2},
    {"float8_e5m2", DType::kE5M2},
    {"int8", DType::kInt8},
    {"i8", DType::kInt8},
};

constexpr char ToLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

}  // namespace

const char* ToString(DType type) {
  switch (type) {
    case DType::kFloat32:
      return "float32";
    case DType::kFloat16:
      return "float16";
    case DType::kBFloat16:
      return "bfloat16";
    case DType::kE4M3FN:
      return "fp8_e4m3fn";
    case DType::kE4M3FNUZ:
      return "fp8_e4m3fnuz";
    case DType::kE5M2:
      return "fp8_e5m2";
    case DType::kInt8:
      return "int8";
  }
  return "unknown";
}

Result<DType> ParseDType(std::string_view name) {
  const auto matches = [&](const NamedDType& known) {
    return std::equal(name.begin(), name.end(), known.name.begin(), known.name.end(),
                      [](char given, char expected) { return ToLower(given) == expected; });
  };
  const auto* const found = std::find_if(std::begin(kNames), std::end(kNames), matches);
  if (found != std::end(kNames)) return found->type;
  return InvalidArgument(
      std::string("\"").append(name).append("\" is not an element type: use float32, float16, "
                                            "bfloat16, fp8_e4m3fn, fp8_e4m3fnuz, fp8_e5m2 "
                                            "or int8"));
}

float Float16ToFloat(uint16_t bits) { return DecodeFloat16(bits); }
uint16_t FloatToFloat16(float value) { return Encode<Float16Format>(value); }

float E4M3FNToFloat(uint8_t bits) { return kE4M3FNTable[bits]; }
uint8_t FloatToE4M3FN(float value) { return Encode<E4M3FNFormat>(value); }
float E4M3FNUZToFloat(uint8_t bits) { return kE4M3FNUZTable[bits]; }
uint8_t FloatToE4M3FNUZ(float value) { return Encode<E4M3FNUZFormat>(value); }
float E5M2ToFloat(uint8_t bits) { return kE5M2Table[bits]; }
uint8_t FloatToE5M2(float value) { return Encode<E5M2Format>(value); }
int8_t FloatToInt8(float value) { return EncodeInt8(value); }

float LoadAsFloat(DType type, const void* data, int64_t index) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  float value = 0.0f;
  ConvertToFloat(type, bytes + index * static_cast<int64_t>(SizeOf(type)), 1, &value);
  return value;
}

void StoreFromFloat(DType type, void* data, int64_t index, float value) {
  auto* bytes = static_cast<unsigned char*>(data);
  ConvertFromFloat(type, &value, 1, bytes + index * static_cast<int64_t>(SizeOf(type)));
}

void ConvertToFloat(DType type, const void* source, int64_t count, float* destination) {
  if (count <= 0) return;
  const auto* bytes = static_cast<const uint8_t*>(source);
  const auto* halves = static_cast<const uint16_t*>(source);
  switch (type) {
    case DType::kFloat32:
      std::memcpy(destination, source, static_cast<size_t>(count) * sizeof(float));
      return;
    case DType::kFloat16:
      return ConvertEach(halves, count, destination, [](uint16_t b) { return DecodeFloat16(b); });
    case DType::kBFloat16:
      return ConvertEach(halves, count, destination, [](uint16_t b) { return BFloat16ToFloat(b); });
    case DType::kE4M3FN:
      return ConvertEach(bytes, count, destination, [](uint8_t b) { return kE4M3FNTable[b]; });
    case DType::kE4M3FNUZ:
      return ConvertEach(bytes, count, destination, [](uint8_t b) { return kE4M3FNUZTable[b]; });
    case DType::kE5M2:
      return ConvertEach(bytes, count, destination, [](uint8_t b) { return kE5M2Table[b]; });
    case DType::kInt8:
      return ConvertEach(static_cast<const int8_t*>(source), count, destination,
                         [](int8_t b) { return static_cast<float>(b); });
  }
}

void ConvertFromFloat(DType type, const float* source, int64_t count, void* destination) {
  if (count <= 0) return;
  auto* bytes = static_cast<uint8_t*>(destination);
  auto* halves = static_cast<uint16_t*>(destination);
  switch (type) {
    case DType::kFloat32:
      std::memcpy(destination, source, static_cast<size_t>(count) * sizeof(float));
      return;
    case DType::kFloat16:
      return ConvertEach(source, count, halves, [](float v) { return Encode<Float16Format>(v); });
    case DType::kBFloat16:
      return ConvertEach(source, count, halves, [](float v) { return FloatToBFloat16(v); });
    case DType::kE4M3FN:
      return ConvertEach(source, count, bytes, [](float v) { return Encode<E4M3FNFormat>(v); });
    case DType::kE4M3FNUZ:
      return ConvertEach(source, count, bytes, [](float v) { return Encode<E4M3FNUZFormat>(v); });
    case DType::kE5M2:
      return ConvertEach(source, count, bytes, [](float v) { return Encode<E5M2Format>(v); });
    case DType::kInt8:
      return ConvertEach(source, count, static_cast<int8_t*>(destination),
                         [](float v) { return EncodeInt8(v); });
  }
}

}  // namespace tessera
