// What the vector policy does to vectors of scores, and how it reads the elements of a cache: one
// copy for each instruction set.

#if defined(TESSERA_ATTENTION_KERNEL_SIMD_OPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TESSERA_ATTENTION_KERNEL_SIMD_OPS_INL_H_
#undef TESSERA_ATTENTION_KERNEL_SIMD_OPS_INL_H_
#else
#define TESSERA_ATTENTION_KERNEL_SIMD_OPS_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "attention/kernel/cpu/wide_memory.h"
#include "attention/kernel/element.h"
#include "attention/kernel/item_rows.h"
#include "attention/kernel/ops.h"

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace tessera::kernel {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// At most 16 lanes: float rows are padded to that many.
using FloatTag = hn::CappedTag<float, WideMemory::kPad>;
using FloatVec = hn::Vec<FloatTag>;
using IntTag = hn::RebindToSigned<FloatTag>;
using IntVec = hn::Vec<IntTag>;

struct SimdOps {
  using Float = FloatVec;
  using Int = IntVec;
  static constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

  static HWY_INLINE FloatVec Set(float x) { return hn::Set(FloatTag(), x); }
  static HWY_INLINE IntVec SetInt(int32_t i) { return hn::Set(IntTag(), i); }
  static HWY_INLINE FloatVec Add(FloatVec a, FloatVec b) { return hn::Add(a, b); }
  static HWY_INLINE FloatVec Sub(FloatVec a, FloatVec b) { return hn::Sub(a, b); }
  static HWY_INLINE FloatVec Mul(FloatVec a, FloatVec b) { return hn::Mul(a, b); }
  static HWY_INLINE FloatVec MulAdd(FloatVec a, FloatVec b, FloatVec c) {
    return hn::MulAdd(a, b, c);
  }
  static HWY_INLINE FloatVec MulSub(FloatVec a, FloatVec b, FloatVec c) {
    return hn::MulSub(a, b, c);
  }
  static HWY_INLINE FloatVec Max(FloatVec a, FloatVec b) { return hn::Max(a, b); }
  static HWY_INLINE FloatVec Sqrt(FloatVec x) { return hn::Sqrt(x); }
  static HWY_INLINE IntVec SubInt(IntVec a, IntVec b) { return hn::Sub(a, b); }
  static HWY_INLINE FloatVec ToFloat(IntVec i) { return hn::ConvertTo(FloatTag(), i); }
  static HWY_INLINE auto InRange(IntVec i, IntVec begin, IntVec end) {
    return hn::RebindMask(FloatTag(), hn::AndNot(hn::Lt(i, begin), hn::Lt(i, end)));
  }
  static HWY_INLINE auto Equal(FloatVec a, FloatVec b) { return hn::Eq(a, b); }
  template <class Mask>
  static HWY_INLINE FloatVec Select(Mask mask, FloatVec a, FloatVec b) {
    return hn::IfThenElse(mask, a, b);
  }

  // 2^x for x <= 127, relative error below 1.2e-7: 2^round(x) by the exponent, the rest by a
  // polynomial (minimax on [-1/2, 1/2]). Below the smallest normal number: 0.
  static HWY_INLINE FloatVec Exp2(FloatVec x) {
    const FloatTag d;
    const IntTag di;
    const auto tiny = hn::Lt(x, hn::Set(d, -126.0f));
    const FloatVec clamped = hn::IfThenElse(tiny, hn::Set(d, -126.0f), x);
    const IntVec n = hn::NearestInt(clamped);
    const FloatVec f = hn::Sub(clamped, hn::ConvertTo(d, n));
    FloatVec p = hn::Set(d, 1.53458114e-4f);
    p = hn::MulAdd(p, f, hn::Set(d, 1.33999312e-3f));
    p = hn::MulAdd(p, f, hn::Set(d, 9.61848896e-3f));
    p = hn::MulAdd(p, f, hn::Set(d, 5.55032878e-2f));
    p = hn::MulAdd(p, f, hn::Set(d, 2.40226469e-1f));
    p = hn::MulAdd(p, f, hn::Set(d, 6.93147206e-1f));
    p = hn::MulAdd(p, f, hn::Set(d, 1.0f));
    const FloatVec power = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(n, hn::Set(di, 127))));
    return hn::IfThenZeroElse(tiny, hn::Mul(p, power));
  }

  // 1 - 2 / (e^(2x) + 1); beyond 10 it is 1 to float32's precision. x stands second in Max and Min:
  // x86 gives the second operand where one is NaN, which has to stay visible.
  static HWY_INLINE FloatVec Tanh(FloatVec x) {
    const FloatTag d;
    const FloatVec clamped = hn::Min(hn::Set(d, 10.0f), hn::Max(hn::Set(d, -10.0f), x));
    const FloatVec one = hn::Set(d, 1.0f);
    const FloatVec e = Exp2(hn::Mul(clamped, hn::Set(d, 2.0f * kLog2e)));
    return hn::Sub(one, hn::Div(hn::Set(d, 2.0f), hn::Add(e, one)));
  }

  // Few steps of a query meet its own tokens: no need for speed. The indices are neighbours.
  static HWY_INLINE FloatVec Gather(const float* table, IntVec i, int32_t count) {
    const int32_t index = hn::GetLane(i);
    const int32_t lanes = static_cast<int32_t>(hn::Lanes(FloatTag()));
    alignas(64) float found[WideMemory::kPad] = {};
    for (int32_t k = std::max(0, -index); k < std::min(lanes, count - index); ++k) {
      found[k] = table[index + k];
    }
    return hn::Load(FloatTag(), found);
  }
};

static_assert(NumberOps<SimdOps>);

#define TESSERA_FN HWY_INLINE
#include "attention/kernel/attention_math.inl"
#undef TESSERA_FN

// float16 -> float32. Without F16C Highway computes it, and takes infinities and NaN for the
// numbers from 65536 on that float16 does not have.
template <class D, class V16>
HWY_INLINE hn::Vec<D> FromFloat16(D d, V16 v) {
  const hn::Vec<D> x = hn::PromoteTo(d, v);
#if HWY_ARCH_X86 && HWY_TARGET > HWY_AVX2
  const hn::RebindToUnsigned<D> du;
  const auto infinity = hn::BitCast(d, hn::Set(du, 0x7f800000u));
  return hn::IfThenElse(hn::Ge(hn::Abs(x), hn::Set(d, 65536.0f)), hn::Or(x, infinity), x);
#else
  return x;
#endif
}

// 8-bit floats by way of float16, whose conversion every instruction set has and which holds their
// subnormal numbers: the byte comes in the upper half of a 16-bit lane, its exponent field is moved
// into place. What the other exponent bias makes of the value is left to ElementUnit.
// The float16 bits, as D16's lanes. Without kNan there is none among the elements, and the lower
// half of a lane does not matter.
template <class Element, bool kNan, class D16, class V16>
HWY_INLINE V16 Float16Bits(D16 d16, V16 upper) {
  if constexpr (std::is_same_v<Element, E5M2Element>) {
    return kNan ? upper : hn::And(upper, hn::Set(d16, 0xff00));
  } else {
    const hn::RebindToSigned<D16> di16;
    // The sign is shifted in twice; one copy is taken away.
    const auto shifted = hn::BitCast(d16, hn::ShiftRight<1>(hn::BitCast(di16, upper)));
    const auto bits = hn::And(shifted, hn::Set(d16, 0xbf80));
    if constexpr (!kNan) return bits;
    const auto nan = [&]() HWY_ATTR {
      if constexpr (std::is_same_v<Element, E4M3FNElement>) {
        return hn::Eq(hn::And(upper, hn::Set(d16, 0x7f00)), hn::Set(d16, 0x7f00));
      } else {
        return hn::Eq(upper, hn::Set(d16, 0x8000));
      }
    }();
    return hn::IfThenElse(nan, hn::Set(d16, 0x7e00), bits);
  }
}
template <class Element, class D, class V16>
HWY_INLINE hn::Vec<D> FromByteFloats(D d, V16 upper) {
  const hn::Rebind<hwy::float16_t, D> df16;
  return FromFloat16(
      d, hn::BitCast(df16, Float16Bits<Element, true>(hn::Rebind<uint16_t, D>(), upper)));
}

// What LoadElements' numbers must be multiplied by: 2 to the difference of the exponents' biases.
// It goes into the query's factor and the output's.
template <class Element>
constexpr float ElementUnit() {
  return std::is_same_v<Element, E4M3FNElement>     ? 256.0f
         : std::is_same_v<Element, E4M3FNUZElement> ? 128.0f
                                                    : 1.0f;
}

template <class Element>
constexpr bool kByteFloat =
    std::is_same_v<Element, E4M3FNElement> || std::is_same_v<Element, E4M3FNUZElement> ||
    std::is_same_v<Element, E5M2Element>;

// `Lanes` elements of a cache row, from index i on, as float32.
template <class Element>
HWY_INLINE FloatVec LoadElements(const void* row, int32_t i) {
  const FloatTag d;
  if constexpr (std::is_same_v<Element, Float32Element>) {
    return hn::LoadU(d, static_cast<const float*>(row) + i);
  } else if constexpr (std::is_same_v<Element, Float16Element>) {
    const hn::Rebind<hwy::float16_t, FloatTag> d16;
    return FromFloat16(d, hn::LoadU(d16, static_cast<const hwy::float16_t*>(row) + i));
  } else if constexpr (kByteFloat<Element>) {
    const hn::Rebind<uint8_t, FloatTag> d8;
    const hn::Rebind<uint16_t, FloatTag> d16;
    const auto bytes = hn::LoadU(d8, static_cast<const uint8_t*>(row) + i);
    return FromByteFloats<Element>(d, hn::ShiftLeft<8>(hn::PromoteTo(d16, bytes)));
  } else if constexpr (std::is_same_v<Element, Int8Element>) {
    const hn::Rebind<int8_t, FloatTag> d8;
    return hn::ConvertTo(
        d, hn::PromoteTo(IntTag(), hn::LoadU(d8, static_cast<const int8_t*>(row) + i)));
  } else {
    const hn::Rebind<hwy::bfloat16_t, FloatTag> d16;
    return hn::PromoteTo(d, hn::LoadU(d16, static_cast<const hwy::bfloat16_t*>(row) + i));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernel
HWY_AFTER_NAMESPACE();

#endif  // a target with vectors
#endif  // TESSERA_ATTENTION_KERNEL_SIMD_OPS_INL_H_
