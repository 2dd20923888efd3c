// What the AVX-512 kernels compute on vectors of 16 float32: powers of two, tanh, transposes.
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

TESSERA_TARGET_BEGIN_AVX512
namespace tessera::x86 {

inline constexpr int32_t kLanes = 16;
inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
inline constexpr float kLog2e = 1.44269504088896340736f;

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

inline __m512 ZeroIfMinusInfinity(__m512 x) {
  return _mm512_maskz_mov_ps(_mm512_cmpneq_ps_mask(x, _mm512_set1_ps(kMinusInfinity)), x);
}

inline __m512i FirstIntegers() {
  return _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
}

// s + slope * (key - position), or s - slope * sqrt(position - key), 0 for keys to the right.
inline __m512 AddAlibi(__m512 s, __m512i key, __m512i position, __m512 slope, bool square_root) {
  const __m512 distance = _mm512_cvtepi32_ps(_mm512_sub_epi32(key, position));
  if (!square_root) return _mm512_fmadd_ps(slope, distance, s);
  const __m512 left =
      _mm512_max_ps(_mm512_setzero_ps(), _mm512_sub_ps(_mm512_setzero_ps(), distance));
  return _mm512_fnmadd_ps(slope, _mm512_sqrt_ps(left), s);
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
TESSERA_TARGET_END
