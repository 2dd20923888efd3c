// The three instructions that make a division of a reciprocal: scale, multiply-add, repair.
#include <cmath>

#include "device/gpu/gfx942/vector_lanes.h"
#include "tessera/dtype.h"

namespace tessera::gfx942 {
namespace {

template <class T>
struct Format;
template <>
struct Format<float> {
  static constexpr int kExponentBits = 8, kMantissaBits = 23, kScale = 64, kFar = 96, kSmall = 23;
};
template <>
struct Format<double> {
  static constexpr int kExponentBits = 11, kMantissaBits = 52, kScale = 128, kFar = 768,
                       kSmall = 53;
};

template <class T>
int Exponent(T value) {
  using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
  return static_cast<int>(std::bit_cast<Bits>(value) >> Format<T>::kMantissaBits &
                          ((Bits{1} << Format<T>::kExponentBits) - 1));
}
template <class T>
bool IsDenormal(T value) {
  return value != 0 && Exponent(value) == 0;
}
template <class T>
bool Same(T a, T b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

// Moves numerator or denominator if the steps of the division neither overflow nor lose bits.
// `*scaled`: the quotient has to be scaled in the end.
template <class T>
T ScaleForDivision(T value, T denominator, T numerator, bool* scaled) {
  constexpr int kScale = Format<T>::kScale;
  *scaled = false;
  if (numerator == 0 || denominator == 0) return std::numeric_limits<T>::quiet_NaN();
  if (Exponent(numerator) - Exponent(denominator) >= Format<T>::kFar) {
    *scaled = true;
    return Same(value, denominator) ? std::ldexp(value, kScale) : value;
  }
  if (IsDenormal(denominator)) return std::ldexp(value, kScale);
  const bool small_reciprocal = IsDenormal(T{1} / denominator);
  const bool small_quotient = IsDenormal(numerator / denominator);
  if (small_reciprocal && small_quotient) {
    *scaled = true;
    return Same(value, denominator) ? std::ldexp(value, kScale) : value;
  }
  if (small_reciprocal) return std::ldexp(value, -kScale);
  if (small_quotient) {
    *scaled = true;
    return Same(value, numerator) ? std::ldexp(value, kScale) : value;
  }
  if (Exponent(numerator) <= Format<T>::kSmall) return std::ldexp(value, kScale);
  return value;
}

template <class T>
void Scale(Wave& wave, const Instruction& i) {
  const Input<T> value(wave, i, 2), denominator(wave, i, 3), numerator(wave, i, 4);
  alignas(64) T result[kLanes];
  uint64_t scaled = 0;
  for (int l = 0; l < kLanes; ++l) {
    bool scale = false;
    result[l] = ScaleForDivision(value[l], denominator[l], numerator[l], &scale);
    scaled |= uint64_t{scale} << l;
  }
  Store(wave, i, result);
  wave.SetScalar64(i.operand[1].index, scaled & wave.exec());
}

// Takes back the scaling: of the denominator if the quotient, which is the last source, is large,
// or else of the numerator.
template <class T>
T Unscaled(T sum, T quotient) {
  constexpr int kBias = (1 << (Format<T>::kExponentBits - 1)) - 1, kScale = Format<T>::kScale;
  return std::ldexp(sum, Exponent(quotient) > kBias ? kScale : -kScale);
}

template <class T>
void FusedScale(Wave& wave, const Instruction& i) {
  const Input<T> a(wave, i, 1), b(wave, i, 2), c(wave, i, 3);
  const uint64_t scaled = wave.vcc();
  alignas(64) T result[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    const T sum = std::fma(a[l], b[l], c[l]);
    result[l] = (scaled >> l & 1) != 0 ? Unscaled(sum, c[l]) : sum;
  }
  Store(wave, i, result);
}

// The quotient if it is an ordinary number; otherwise what numerator / denominator is.
template <class T>
T Repair(T quotient, T denominator, T numerator) {
  const bool negative = std::signbit(denominator) != std::signbit(numerator);
  const bool special = std::isnan(numerator) || std::isnan(denominator) || denominator == 0 ||
                       numerator == 0 || std::isinf(denominator) || std::isinf(numerator);
  if (special) return numerator / denominator;
  return negative ? -std::fabs(quotient) : std::fabs(quotient);
}

KeptHalf RepairHalf(Half quotient, Half denominator, Half numerator) {
  return {FloatToFloat16(Repair(Float16ToFloat(quotient.bits), Float16ToFloat(denominator.bits),
                                Float16ToFloat(numerator.bits)))};
}

template <class T>
void AddType(OpcodeTable* table, const std::string& type) {
  const OperandType vector{Role::kVector, kWidth<T>, kNumber<T>};
  const OperandType source{Role::kSource, kWidth<T>, kNumber<T>};
  table->Add("v_div_scale_" + type, Scale<T>,
             {vector, {Role::kScalar, 2, Number::kBits64}, source, source, source}, kModifierSign);
  table->Add("v_div_fmas_" + type, FusedScale<T>, {vector, source, source, source}, kModifierSign);
}

}  // namespace

void AddVectorDivision(OpcodeTable* table) {
  AddType<float>(table, "f32");
  AddType<double>(table, "f64");
  AddLanes(table, "v_div_fixup_f32", [](float q, float d, float n) { return Repair(q, d, n); });
  AddLanes(table, "v_div_fixup_f64", [](double q, double d, double n) { return Repair(q, d, n); });
  AddLanes(table, "v_div_fixup_f16", [](Half q, Half d, Half n) { return RepairHalf(q, d, n); });
}

}  // namespace tessera::gfx942
