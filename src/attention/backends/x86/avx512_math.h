// What the AVX-512 kernels compute on vectors of 16 float32: powers of two, tanh, transposes, and
// the elements of a cache as float32.
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
#include "tessera/dtype.h"

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

// Elements of a cache in pieces of 32, as two vectors of float32. Dimension i of a piece lies at
// place Place(i) of the two: what is multiplied element by element may lie in any order.
// LoadSome() reads `count` < 32 elements, and no memory behind them; the others are 0.
// LoadInOrder() reads min(count, 32) elements in their own order.
inline constexpr int32_t kPiece = 32;

struct Float32Cache {
  static constexpr DType kDType = DType::kFloat32;
  static constexpr int64_t kSize = 4;
  static constexpr int32_t Place(int32_t i) { return i; }
  static void Load(const char* from, __m512* to) {
    to[0] = _mm512_loadu_ps(from);
    to[1] = _mm512_loadu_ps(from + 64);
  }
  static void LoadSome(const char* from, int32_t count, __m512* to) {
    to[0] = _mm512_maskz_loadu_ps(LaneMask(count), from);
    to[1] = _mm512_maskz_loadu_ps(LaneMask(count - kLanes), from + 64);
  }
  static void LoadInOrder(const char* from, int32_t count, __m512* to) {
    LoadSome(from, count, to);
  }
};

struct Float16Cache {
  static constexpr DType kDType = DType::kFloat16;
  static constexpr int64_t kSize = 2;
  static constexpr int32_t Place(int32_t i) { return i; }
  static void Load(const char* from, __m512* to) {
    to[0] = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    to[1] = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32)));
  }
  static void LoadSome(const char* from, int32_t count, __m512* to) {
    to[0] = _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(LaneMask(count), from));
    to[1] = _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(LaneMask(count - kLanes), from + 32));
  }
  static void LoadInOrder(const char* from, int32_t count, __m512* to) {
    LoadSome(from, count, to);
  }
};

// The even elements, then the odd ones: one operation for each vector.
struct BFloat16Cache {
  static constexpr DType kDType = DType::kBFloat16;
  static constexpr int64_t kSize = 2;
  static constexpr int32_t Place(int32_t i) { return i % 2 * kLanes + i / 2; }
  static void Split(__m512i pairs, __m512* to) {
    to[0] = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
    to[1] = _mm512_castsi512_ps(
        _mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int32_t>(0xffff0000u))));
  }
  static void Load(const char* from, __m512* to) { Split(_mm512_loadu_si512(from), to); }
  static void LoadSome(const char* from, int32_t count, __m512* to) {
    const auto mask = static_cast<__mmask32>((uint64_t{1} << count) - 1);
    Split(_mm512_maskz_loadu_epi16(mask, from), to);
  }
  static void LoadInOrder(const char* from, int32_t count, __m512* to) {
    to[0] = Widen(_mm256_maskz_loadu_epi16(LaneMask(count), from));
    to[1] = Widen(_mm256_maskz_loadu_epi16(LaneMask(count - kLanes), from + 32));
  }
  static __m512 Widen(__m256i halves) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
  }
};

}  // namespace tessera::x86
TESSERA_TARGET_END
