// Floating point of 32, 64 and 16 bits.
#include <cmath>

#include "device/gpu/gfx942/vector_lanes.h"
#include "tessera/dtype.h"

namespace tessera::gfx942 {
namespace {

using F = float;
using D = double;

float Value(Half h) { return Float16ToFloat(h.bits); }
Half Rounded(float f) { return {FloatToFloat16(f)}; }
KeptHalf Kept(float f) { return {FloatToFloat16(f)}; }

// What the hardware takes if one of two is no number: the other.
template <class T>
T Larger(T a, T b) {
  if (std::isnan(a)) return b;
  return b > a ? b : a;
}
template <class T>
T Smaller(T a, T b) {
  if (std::isnan(a)) return b;
  return b < a ? b : a;
}
template <class T>
T Middle(T a, T b, T c) {
  if (std::isnan(a) || std::isnan(b) || std::isnan(c)) return Smaller(Smaller(a, b), c);
  return Larger(Smaller(a, b), Smaller(Larger(a, b), c));
}
F Fraction(F a) { return a - std::floor(a); }

void AddSingle(OpcodeTable* t) {
  AddLanes(t, "v_add_f32", [](F a, F b) { return a + b; });
  AddLanes(t, "v_sub_f32", [](F a, F b) { return a - b; });
  AddLanes(t, "v_subrev_f32", [](F a, F b) { return b - a; });
  AddLanes(t, "v_mul_f32", [](F a, F b) { return a * b; });
  AddLanes(t, "v_fma_f32", [](F a, F b, F c) { return std::fma(a, b, c); });
  AddAccumulating(t, "v_fmac_f32", [](F a, F b, F d) { return std::fma(a, b, d); });
  // The constant is written where it is used: second or third.
  AddLanes(t, "v_fmamk_f32", [](F a, F b, F c) { return std::fma(a, b, c); });
  AddLanes(t, "v_fmaak_f32", [](F a, F b, F c) { return std::fma(a, b, c); });
  AddLanes(t, "v_max_f32", [](F a, F b) { return Larger(a, b); });
  AddLanes(t, "v_min_f32", [](F a, F b) { return Smaller(a, b); });
  AddLanes(t, "v_max3_f32", [](F a, F b, F c) { return Larger(Larger(a, b), c); });
  AddLanes(t, "v_min3_f32", [](F a, F b, F c) { return Smaller(Smaller(a, b), c); });
  AddLanes(t, "v_med3_f32", [](F a, F b, F c) { return Middle(a, b, c); });
  AddLanes(t, "v_exp_f32", [](F a) { return std::exp2(a); });
  AddLanes(t, "v_log_f32", [](F a) { return std::log2(a); });
  AddLanes(t, "v_rcp_f32", [](F a) { return 1.0f / a; });
  AddLanes(t, "v_rcp_iflag_f32", [](F a) { return 1.0f / a; });
  AddLanes(t, "v_rsq_f32", [](F a) { return 1.0f / std::sqrt(a); });
  AddLanes(t, "v_sqrt_f32", [](F a) { return std::sqrt(a); });
  // The argument is in turns.
  AddLanes(t, "v_sin_f32",
           [](F a) { return static_cast<F>(std::sin(6.283185307179586 * static_cast<D>(a))); });
  AddLanes(t, "v_cos_f32",
           [](F a) { return static_cast<F>(std::cos(6.283185307179586 * static_cast<D>(a))); });
  AddLanes(t, "v_floor_f32", [](F a) { return std::floor(a); });
  AddLanes(t, "v_ceil_f32", [](F a) { return std::ceil(a); });
  AddLanes(t, "v_trunc_f32", [](F a) { return std::trunc(a); });
  AddLanes(t, "v_rndne_f32", [](F a) { return std::nearbyint(a); });
  AddLanes(t, "v_fract_f32", [](F a) { return Fraction(a); });
  AddLanes(t, "v_ldexp_f32", [](F a, int32_t b) { return std::ldexp(a, b); });
  AddLanes(t, "v_frexp_mant_f32", [](F a) {
    int exponent = 0;
    return std::isfinite(a) ? std::frexp(a, &exponent) : a;
  });
  AddLanes(t, "v_frexp_exp_i32_f32", [](F a) {
    int exponent = 0;
    if (std::isfinite(a) && a != 0) std::frexp(a, &exponent);
    return int32_t{exponent};
  });
}

void AddDouble(OpcodeTable* t) {
  AddLanes(t, "v_add_f64", [](D a, D b) { return a + b; });
  AddLanes(t, "v_mul_f64", [](D a, D b) { return a * b; });
  AddLanes(t, "v_fma_f64", [](D a, D b, D c) { return std::fma(a, b, c); });
  AddAccumulating(t, "v_fmac_f64", [](D a, D b, D d) { return std::fma(a, b, d); });
  AddLanes(t, "v_max_f64", [](D a, D b) { return Larger(a, b); });
  AddLanes(t, "v_min_f64", [](D a, D b) { return Smaller(a, b); });
  // Estimates of about 26 bits; code that wants more refines them.
  AddLanes(t, "v_rcp_f64", [](D a) { return 1.0 / a; });
  AddLanes(t, "v_rsq_f64", [](D a) { return 1.0 / std::sqrt(a); });
  AddLanes(t, "v_sqrt_f64", [](D a) { return std::sqrt(a); });
  AddLanes(t, "v_floor_f64", [](D a) { return std::floor(a); });
  AddLanes(t, "v_ceil_f64", [](D a) { return std::ceil(a); });
  AddLanes(t, "v_trunc_f64", [](D a) { return std::trunc(a); });
  AddLanes(t, "v_rndne_f64", [](D a) { return std::nearbyint(a); });
  AddLanes(t, "v_fract_f64", [](D a) { return a - std::floor(a); });
  AddLanes(t, "v_ldexp_f64", [](D a, int32_t b) { return std::ldexp(a, b); });
  AddLanes(t, "v_frexp_mant_f64", [](D a) {
    int exponent = 0;
    return std::isfinite(a) ? std::frexp(a, &exponent) : a;
  });
  AddLanes(t, "v_frexp_exp_i32_f64", [](D a) {
    int exponent = 0;
    if (std::isfinite(a) && a != 0) std::frexp(a, &exponent);
    return int32_t{exponent};
  });
}

// Of two operands a sum or product of halves is rounded once: float holds it exactly, or double
// rounding cannot show. That of three is not.
void AddHalf(OpcodeTable* t) {
  AddLanes(t, "v_add_f16", [](Half a, Half b) { return Rounded(Value(a) + Value(b)); });
  AddLanes(t, "v_sub_f16", [](Half a, Half b) { return Rounded(Value(a) - Value(b)); });
  AddLanes(t, "v_subrev_f16", [](Half a, Half b) { return Rounded(Value(b) - Value(a)); });
  AddLanes(t, "v_mul_f16", [](Half a, Half b) { return Rounded(Value(a) * Value(b)); });
  AddLanes(t, "v_max_f16", [](Half a, Half b) { return Rounded(Larger(Value(a), Value(b))); });
  AddLanes(t, "v_min_f16", [](Half a, Half b) { return Rounded(Smaller(Value(a), Value(b))); });
  AddLanes(t, "v_rcp_f16", [](Half a) { return Rounded(1.0f / Value(a)); });
  AddLanes(t, "v_sqrt_f16", [](Half a) { return Rounded(std::sqrt(Value(a))); });
  AddLanes(t, "v_rsq_f16", [](Half a) { return Rounded(1.0f / std::sqrt(Value(a))); });
  AddLanes(t, "v_exp_f16", [](Half a) { return Rounded(std::exp2(Value(a))); });
  AddLanes(t, "v_log_f16", [](Half a) { return Rounded(std::log2(Value(a))); });
  AddLanes(t, "v_floor_f16", [](Half a) { return Rounded(std::floor(Value(a))); });
  AddLanes(t, "v_trunc_f16", [](Half a) { return Rounded(std::trunc(Value(a))); });
  AddLanes(t, "v_rndne_f16", [](Half a) { return Rounded(std::nearbyint(Value(a))); });
  AddAccumulating(t, "v_fmac_f16", [](Half a, Half b, Half d) {
    return Rounded(std::fma(Value(a), Value(b), Value(d)));
  });
  AddLanes(t, "v_fma_f16",
           [](Half a, Half b, Half c) { return Kept(std::fma(Value(a), Value(b), Value(c))); });
}

// A choice by a mask; signs may be changed as those of floats.
void Choose(Wave& wave, const Instruction& i) {
  const Input<float> a(wave, i, 1), b(wave, i, 2);
  const uint64_t mask = Scalar64(wave, i.operand[3]);
  alignas(64) uint32_t result[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    result[l] = std::bit_cast<uint32_t>((mask >> l & 1) != 0 ? b[l] : a[l]);
  }
  Store(wave, i, result);
}

}  // namespace

void AddVectorFloats(OpcodeTable* table) {
  AddSingle(table);
  AddDouble(table);
  AddHalf(table);
  table->Add("v_cndmask_b32", Choose,
             {{Role::kVector, 1, Number::kBits32},
              {Role::kSource, 1, Number::kBits32},
              {Role::kSource, 1, Number::kBits32},
              {Role::kScalarSource, 2, Number::kBits64}},
             kModifierSign | kModifierSelect | kModifierExchange);
}

}  // namespace tessera::gfx942
