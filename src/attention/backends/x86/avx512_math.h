// What the AVX-512 kernels compute on vectors of 16 float32: powers of two, tanh, transposes, and
// the mathematics of attention.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the undefined vectors of its own intrinsics for a mistake.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#include <immintrin.h>
#endif

#include <cstdint>
#include <limits>

#include "attention/backends/x86/target_region.h"
#include "attention/kernel/item_rows.h"
#include "attention/kernel/ops.h"

TESSERA_TARGET_BEGIN_AVX512
namespace tessera::x86 {

inline constexpr int32_t kLanes = 16;
using kernel::kLog2e;

// The first `count` of 16 lanes; count may be negative or more than 16.
inline __mmask16 LaneMask(int64_t count) {
  return count >= 16 ? __mmask16{0xffff}
                     : static_cast<__mmask16>((1u << (count > 0 ? count : 0)) - 1);
}

// 2^x as 2^floor(x) * (1 + f q(f)), f = x - floor(x) (minimax on [0, 1), exact at 0). Relative
// error 1.5e-7; 3e-6 with kShort, which is enough where the result is rounded to bfloat16.
// -infinity gives 0, NaN stays.
template <bool kShort = false>
inline __m512 Exp2(__m512 x) {
  const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  __m512 p;
  if constexpr (kShort) {
    p = _mm512_set1_ps(0.0134266885f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.052242465f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24128021f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69304484f));
  } else {
    p = _mm512_set1_ps(0.0018671306f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.009017029f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.055799913f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24016444f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.6931513f));
  }
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, x);
}

// 1 - 2 / (e^(2x) + 1); beyond 10 it is 1 to float32's precision. x stands second in min and max,
// which give the second operand where one is NaN.
inline __m512 Tanh(__m512 x) {
  const __m512 clamped =
      _mm512_min_ps(_mm512_set1_ps(10.0f), _mm512_max_ps(_mm512_set1_ps(-10.0f), x));
  const __m512 one = _mm512_set1_ps(1.0f);
  const __m512 e = Exp2(_mm512_mul_ps(clamped, _mm512_set1_ps(2.0f * kLog2e)));
  return _mm512_sub_ps(one, _mm512_div_ps(_mm512_set1_ps(2.0f), _mm512_add_ps(e, one)));
}

struct Avx512Ops {
  using Float = __m512;
  using Int = __m512i;
  static constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

  static __m512 Set(float x) { return _mm512_set1_ps(x); }
  static __m512i SetInt(int32_t i) { return _mm512_set1_epi32(i); }
  static __m512 Add(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
  static __m512 Sub(__m512 a, __m512 b) { return _mm512_sub_ps(a, b); }
  static __m512 Mul(__m512 a, __m512 b) { return _mm512_mul_ps(a, b); }
  static __m512 DivOrZero(__m512 a, __m512 b) {
    return _mm512_maskz_div_ps(_mm512_cmp_ps_mask(b, _mm512_setzero_ps(), _CMP_NEQ_UQ), a, b);
  }
  static __m512 MulAdd(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
  static __m512 MulSub(__m512 a, __m512 b, __m512 c) { return _mm512_fmsub_ps(a, b, c); }
  static __m512 Max(__m512 a, __m512 b) { return _mm512_max_ps(a, b); }
  static __m512 Exp2(__m512 x) { return x86::Exp2(x); }
  static __m512 Tanh(__m512 x) { return x86::Tanh(x); }
  static __m512 Sqrt(__m512 x) { return _mm512_sqrt_ps(x); }
  static __m512i SubInt(__m512i a, __m512i b) { return _mm512_sub_epi32(a, b); }
  static __m512 ToFloat(__m512i i) { return _mm512_cvtepi32_ps(i); }
  static __mmask16 InRange(__m512i i, __m512i begin, __m512i end) {
    return _mm512_cmple_epi32_mask(begin, i) & _mm512_cmplt_epi32_mask(i, end);
  }
  static __mmask16 Equal(__m512 a, __m512 b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
  static __m512 Select(__mmask16 mask, __m512 a, __m512 b) {
    return _mm512_mask_blend_ps(mask, b, a);
  }
  static __m512 Gather(const float* table, __m512i i, int32_t count) {
    const __mmask16 inside = InRange(i, _mm512_setzero_si512(), _mm512_set1_epi32(count));
    return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), inside, i, table, sizeof(float));
  }
};
static_assert(kernel::NumberOps<Avx512Ops>);

// With powers of two that are exact enough to be rounded to bfloat16.
struct ShortOps : Avx512Ops {
  static __m512 Exp2(__m512 x) { return x86::Exp2<true>(x); }
};

inline __m512i FirstIntegers() {
  return _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
}

// 16 x 16 words, in place.
inline void Transpose(__m512i rows[kLanes]) {
  __m512i t[kLanes];
  for (int i = 0; i < kLanes; i += 2) {
    t[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < kLanes; i += 4) {
    rows[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    rows[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    rows[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    rows[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // rows[4 g + c], lane of four words l: column 4 l + c of rows 4 g .. 4 g + 3.
  for (int c = 0; c < 4; ++c) {
    const __m512i a = _mm512_shuffle_i32x4(rows[c], rows[4 + c], 0x88);
    const __m512i b = _mm512_shuffle_i32x4(rows[8 + c], rows[12 + c], 0x88);
    const __m512i d = _mm512_shuffle_i32x4(rows[c], rows[4 + c], 0xdd);
    const __m512i e = _mm512_shuffle_i32x4(rows[8 + c], rows[12 + c], 0xdd);
    t[c] = _mm512_shuffle_i32x4(a, b, 0x88);
    t[8 + c] = _mm512_shuffle_i32x4(a, b, 0xdd);
    t[4 + c] = _mm512_shuffle_i32x4(d, e, 0x88);
    t[12 + c] = _mm512_shuffle_i32x4(d, e, 0xdd);
  }
  for (int i = 0; i < kLanes; ++i) rows[i] = t[i];
}

}  // namespace tessera::x86

namespace tessera::kernel::avx512 {
#define TESSERA_FN inline
#include "attention/kernel/attention_math.inl"
#undef TESSERA_FN
}  // namespace tessera::kernel::avx512
TESSERA_TARGET_END
