// Rows of queries and outputs, of any type but int8, to and from float32.
#pragma once

#include <cstdint>

#include "attention/backends/x86/cache_elements.h"
#include "tessera/dtype.h"

TESSERA_TARGET_BEGIN_AVX512
namespace tessera::x86 {

template <class Type>
inline void ReadRowOf(const char* from, int32_t size, float factor, float* to) {
  for (int32_t i = 0; i < size; i += kPiece) {
    __m512 piece[2];
    Type::LoadInOrder(from + i * Type::kSize, size - i, piece);
    _mm512_storeu_ps(to + i, _mm512_mul_ps(piece[0], _mm512_set1_ps(factor)));
    _mm512_storeu_ps(to + i + kLanes, _mm512_mul_ps(piece[1], _mm512_set1_ps(factor)));
  }
}

// to[0 .. size) = from * factor; up to the next multiple of 32: 0.
inline void ReadRow(DType dtype, const char* from, int32_t size, float factor, float* to) {
  switch (dtype) {
    case DType::kFloat32:
      return ReadRowOf<Float32Cache>(from, size, factor, to);
    case DType::kFloat16:
      return ReadRowOf<Float16Cache>(from, size, factor, to);
    case DType::kE4M3FN:
      return ReadRowOf<E4M3FNCache>(from, size, factor, to);
    case DType::kE4M3FNUZ:
      return ReadRowOf<E4M3FNUZCache>(from, size, factor, to);
    case DType::kE5M2:
      return ReadRowOf<E5M2Cache>(from, size, factor, to);
    default:
      return ReadRowOf<BFloat16Cache>(from, size, factor, to);
  }
}

// To the nearest, ties to even; NaN stays NaN.
inline __m256i RoundToBFloat16(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, odd), _mm512_set1_epi32(0x7fff));
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(1 << 22));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}

// Reads up to 15 floats past from[size - 1].
inline void WriteRow(DType dtype, const float* from, int32_t size, char* to) {
  if (SizeOf(dtype) == 1) return ConvertFromFloat(dtype, from, size, to);
  for (int32_t i = 0; i < size; i += kLanes) {
    const __m512 x = _mm512_loadu_ps(from + i);
    const __mmask16 mask = LaneMask(size - i);
    switch (dtype) {
      case DType::kFloat32:
        _mm512_mask_storeu_ps(to + 4 * int64_t{i}, mask, x);
        break;
      case DType::kFloat16:
        _mm256_mask_storeu_epi16(to + 2 * int64_t{i}, mask,
                                 _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
        break;
      default:
        _mm256_mask_storeu_epi16(to + 2 * int64_t{i}, mask, RoundToBFloat16(x));
    }
  }
}

}  // namespace tessera::x86
TESSERA_TARGET_END
