// Conversions between numbers of different types.
#include <algorithm>
#include <cmath>
#include <limits>

#include "device/gpu/gfx942/vector_lanes.h"
#include "tessera/dtype.h"

namespace tessera::gfx942 {
namespace {

using U = uint32_t;

// Rounds towards zero and takes the nearest that there is; 0 for no number.
template <class To, class From>
To Saturated(From value) {
  using Limits = std::numeric_limits<To>;
  if (std::isnan(value)) return 0;
  if (value <= static_cast<From>(Limits::min())) return Limits::min();
  // The largest integer is no number of From; the next power of two is.
  if (value >= std::ldexp(static_cast<From>(1), Limits::digits)) return Limits::max();
  return static_cast<To>(value);
}

float Byte(U word, int k) { return static_cast<float>(word >> (8 * k) & 0xff); }

// gfx942 has the FNUZ forms of 8-bit floating point.
float FromFp8(U byte) { return E4M3FNUZToFloat(static_cast<uint8_t>(byte)); }
U ToFp8(float value) { return FloatToE4M3FNUZ(value); }

// Also called bf8: 5 bits of exponent with a bias of 16, no infinities, 0x80 is no number.
float FromBf8(U byte) {
  const U exponent = byte >> 2 & 31, mantissa = byte & 3;
  if ((byte & 0xff) == 0x80) return std::numeric_limits<float>::quiet_NaN();
  const float magnitude =
      exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -17)
                    : std::ldexp(static_cast<float>(4 + mantissa), static_cast<int>(exponent) - 18);
  return (byte & 0x80) != 0 ? -magnitude : magnitude;
}

void AddSimple(OpcodeTable* t) {
  AddLanes(t, "v_cvt_f32_u32", [](U a) { return static_cast<float>(a); });
  AddLanes(t, "v_cvt_f32_i32", [](int32_t a) { return static_cast<float>(a); });
  AddLanes(t, "v_cvt_u32_f32", [](float a) { return Saturated<uint32_t>(a); });
  AddLanes(t, "v_cvt_i32_f32", [](float a) { return Saturated<int32_t>(a); });
  AddLanes(t, "v_cvt_flr_i32_f32", [](float a) { return Saturated<int32_t>(std::floor(a)); });
  AddLanes(t, "v_cvt_rpi_i32_f32",
           [](float a) { return Saturated<int32_t>(std::floor(a + 0.5f)); });
  AddLanes(t, "v_cvt_f32_ubyte0", [](U a) { return Byte(a, 0); });
  AddLanes(t, "v_cvt_f32_ubyte1", [](U a) { return Byte(a, 1); });
  AddLanes(t, "v_cvt_f32_ubyte2", [](U a) { return Byte(a, 2); });
  AddLanes(t, "v_cvt_f32_ubyte3", [](U a) { return Byte(a, 3); });
  AddLanes(t, "v_cvt_f64_f32", [](float a) { return static_cast<double>(a); });
  AddLanes(t, "v_cvt_f32_f64", [](double a) { return static_cast<float>(a); });
  AddLanes(t, "v_cvt_f64_u32", [](U a) { return static_cast<double>(a); });
  AddLanes(t, "v_cvt_f64_i32", [](int32_t a) { return static_cast<double>(a); });
  AddLanes(t, "v_cvt_u32_f64", [](double a) { return Saturated<uint32_t>(a); });
  AddLanes(t, "v_cvt_i32_f64", [](double a) { return Saturated<int32_t>(a); });
  AddLanes(t, "v_cvt_f32_f16", [](Half a) { return Float16ToFloat(a.bits); });
  AddLanes(t, "v_cvt_f16_f32", [](float a) { return Half{FloatToFloat16(a)}; });
  AddLanes(t, "v_cvt_f16_u16",
           [](uint16_t a) { return Half{FloatToFloat16(static_cast<float>(a))}; });
  AddLanes(t, "v_cvt_f16_i16", [](uint16_t a) {
    return Half{FloatToFloat16(static_cast<float>(static_cast<int16_t>(a)))};
  });
  AddLanes(t, "v_cvt_u16_f16", [](Half a) { return Saturated<uint16_t>(Float16ToFloat(a.bits)); });
  AddLanes(t, "v_cvt_i16_f16", [](Half a) {
    return static_cast<uint16_t>(Saturated<int16_t>(Float16ToFloat(a.bits)));
  });
  AddLanes(t, "v_cvt_f32_fp8", [](U a) { return FromFp8(a & 0xff); });
  AddLanes(t, "v_cvt_f32_bf8", [](U a) { return FromBf8(a & 0xff); });
}

// Two bytes become two registers. SDWA's WORD_1 takes the upper two.
template <class Convert>
void Unpack(Wave& wave, const Instruction& i) {
  const Input<uint32_t> source(wave, i, 1);
  alignas(64) uint64_t result[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    const U word = source[l];
    result[l] = std::bit_cast<U>(Convert{}(word & 0xff)) |
                uint64_t{std::bit_cast<U>(Convert{}(word >> 8 & 0xff))} << 32;
  }
  Store(wave, i, result);
}

// Two numbers become two bytes: the lower half of the destination, or with op_sel the upper one.
template <class Convert>
void Pack(Wave& wave, const Instruction& i) {
  const Input<float> low(wave, i, 1), high(wave, i, 2);
  uint32_t* const to = wave.v(i.operand[0].index);
  const int shift = (i.half >> 2 & 1) != 0 ? 16 : 0;
  ForActiveLanes(wave.exec(), [&](int l) {
    const U both = Convert{}(low[l]) | Convert{}(high[l]) << 8;
    to[l] = (to[l] & ~(0xffffu << shift)) | both << shift;
  });
}

// Rounds towards zero.
uint16_t Truncated(float value) {
  uint16_t half = FloatToFloat16(value);
  const float back = Float16ToFloat(half);
  if (std::isfinite(value) && std::fabs(back) > std::fabs(value)) --half;
  return half;
}

}  // namespace

void AddVectorConversions(OpcodeTable* table) {
  AddSimple(table);
  const OperandType word{Role::kVector, 1}, pair{Role::kVector, 2}, source{};
  const OperandType real{Role::kSource, 1, Number::kFloat32};
  table->Add("v_cvt_pk_f32_fp8", Unpack<decltype([](U b) { return FromFp8(b); })>, {pair, source},
             kModifierSelect);
  table->Add("v_cvt_pk_f32_bf8", Unpack<decltype([](U b) { return FromBf8(b); })>, {pair, source},
             kModifierSelect);
  table->Add("v_cvt_pk_fp8_f32", Pack<decltype([](float f) { return ToFp8(f); })>,
             {word, real, real}, kModifierHalf | kModifierSign);
  AddLanes(table, "v_cvt_pkrtz_f16_f32",
           [](float a, float b) { return Truncated(a) | uint32_t{Truncated(b)} << 16; });
  AddLanes(table, "v_cvt_pk_u8_f32", [](float a, U place, U old) {
    const U shift = 8 * (place & 3);
    return (old & ~(0xffu << shift)) | U{Saturated<uint8_t>(std::nearbyint(a))} << shift;
  });
}

}  // namespace tessera::gfx942
