// Element types and their conversions. Every narrowing conversion rounds to nearest, ties to even.
//
// Formats: bfloat16 and float16 are the IEEE-754 style 16-bit types; the 8-bit ones are those of
// the OCP 8-bit floating point specification (e4m3fn: no infinities, NaN is S.1111.111, largest
// 448; e5m2: IEEE-like, largest 57344) and AMD CDNA3's e4m3fnuz (no infinities, no negative zero,
// NaN is 0x80, exponent bias 8, largest 240).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tessera/result.h"

namespace tessera {

enum class DType : uint8_t { kFloat32, kFloat16, kBFloat16, kE4M3FN, kE4M3FNUZ, kE5M2, kInt8 };

// Bytes of one element.
constexpr size_t SizeOf(DType type) {
  switch (type) {
    case DType::kFloat32:
      return 4;
    case DType::kFloat16:
    case DType::kBFloat16:
      return 2;
    default:
      return 1;
  }
}

// "float32", "float16", "bfloat16", "fp8_e4m3fn", "fp8_e4m3fnuz", "fp8_e5m2", "int8".
const char* ToString(DType type);

// The inverse of ToString; also takes the customary short names (fp32, half, bf16, fp8, fp8_e4m3,
// ...).
Result<DType> ParseDType(std::string_view name);

// 16 bits.

constexpr float BFloat16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// NaN stays NaN (made quiet); values beyond the largest finite one become infinite, as IEEE
// rounding has it.
constexpr uint16_t FloatToBFloat16(float value) {
  const uint32_t u = std::bit_cast<uint32_t>(value);
  if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((u >> 16) | 0x40u);
  return static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

// Overflow and NaN as for bfloat16: from 65520 on (65504 is the largest value) lies infinity.
float Float16ToFloat(uint16_t bits);
uint16_t FloatToFloat16(float value);

// 8 bits: values beyond the largest finite one, infinities too, saturate to it. NaN stays NaN, in
// int8 it becomes 0.

float E4M3FNToFloat(uint8_t bits);
uint8_t FloatToE4M3FN(float value);
float E4M3FNUZToFloat(uint8_t bits);
uint8_t FloatToE4M3FNUZ(float value);
float E5M2ToFloat(uint8_t bits);
uint8_t FloatToE5M2(float value);
int8_t FloatToInt8(float value);

// By run-time type.

// Element `index` of an array of `type`.
float LoadAsFloat(DType type, const void* data, int64_t index);
void StoreFromFloat(DType type, void* data, int64_t index, float value);

// Converts `count` elements; source and destination must not overlap.
void ConvertToFloat(DType type, const void* source, int64_t count, float* destination);
void ConvertFromFloat(DType type, const float* source, int64_t count, void* destination);

}  // namespace tessera
