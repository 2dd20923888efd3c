// The elements of a cache as float32, or as bfloat16 where that holds them exactly.
//
// A type of elements is loaded in pieces of kElements, as kElements / 16 vectors; dimension i of a
// piece lies at place Place(i) of them: what is multiplied element by element may lie in any order.
//   Load(from, to)              a piece
//   LoadSome(from, count, to)   its first `count` elements, and no memory behind them; the rest is
//   0 LoadInOrder(from, count, to)  min(count, 32) elements as two vectors in their own order
//   LoadPairs(from, count)        min(count, 32) elements as bfloat16 in their own order
// Those that few_rows.inl multiplies as bfloat16 have LoadDots(from, to) and LoadSomeDots(from,
// count, to): vectors of pairs, each the bfloat16 of two of Load()'s vectors.
#pragma once

#include <array>
#include <cstdint>

#include "attention/backends/x86/avx512_math.h"
#include "tessera/dtype.h"

TESSERA_TARGET_BEGIN_AVX512
namespace tessera::x86 {

inline constexpr int32_t kPiece = 32;  // what rows are padded to

inline __mmask32 WordMask(int32_t count) {
  return count >= 32 ? ~__mmask32{0} : static_cast<__mmask32>((uint64_t{1} << count) - 1);
}

struct Float32Cache {
  static constexpr DType kDType = DType::kFloat32;
  static constexpr int64_t kSize = 4;
  static constexpr int32_t kElements = 32;
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
  static constexpr int32_t kElements = 32;
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
  static constexpr int32_t kElements = 32;
  static constexpr int32_t Place(int32_t i) { return i % 2 * kLanes + i / 2; }
  static void Split(__m512i pairs, __m512* to) {
    to[0] = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
    to[1] = _mm512_castsi512_ps(
        _mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int32_t>(0xffff0000u))));
  }
  static void Load(const char* from, __m512* to) { Split(_mm512_loadu_si512(from), to); }
  static void LoadSome(const char* from, int32_t count, __m512* to) {
    Split(LoadPairs(from, count), to);
  }
  static void LoadInOrder(const char* from, int32_t count, __m512* to) {
    to[0] = Widen(_mm256_maskz_loadu_epi16(LaneMask(count), from));
    to[1] = Widen(_mm256_maskz_loadu_epi16(LaneMask(count - kLanes), from + 32));
  }
  static __m512i LoadPairs(const char* from, int32_t count) {
    return _mm512_maskz_loadu_epi16(WordMask(count), from);
  }
  static void LoadDots(const char* from, __m512i* to) { to[0] = _mm512_loadu_si512(from); }
  static void LoadSomeDots(const char* from, int32_t count, __m512i* to) {
    to[0] = LoadPairs(from, count);
  }
  static __m512 Widen(__m256i halves) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
  }
};

struct Int8Cache {
  static constexpr DType kDType = DType::kInt8;
  static constexpr int64_t kSize = 1;
  static constexpr int32_t kElements = 32;
  static constexpr int32_t Place(int32_t i) { return i; }
  static __m512 Widen(__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)); }
  static void Load(const char* from, __m512* to) {
    to[0] = Widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    to[1] = Widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + kLanes)));
  }
  static void LoadSome(const char* from, int32_t count, __m512* to) {
    to[0] = Widen(_mm_maskz_loadu_epi8(LaneMask(count), from));
    to[1] = Widen(_mm_maskz_loadu_epi8(LaneMask(count - kLanes), from + kLanes));
  }
  static void LoadInOrder(const char* from, int32_t count, __m512* to) {
    LoadSome(from, count, to);
  }
  // Eight bits are no more than bfloat16 has: the upper halves of float32.
  static __m512i LoadPairs(const char* from, int32_t count) {
    const __m512i upper =
        _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29, 27,
                         25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    __m512 both[2];
    LoadSome(from, count, both);
    return _mm512_permutex2var_epi16(_mm512_castps_si512(both[0]), upper,
                                     _mm512_castps_si512(both[1]));
  }
};

// The 8-bit floats' codes without sign, as bfloat16, which holds all their numbers; the formats are
// those of tessera/dtype.h.
constexpr uint16_t MagnitudeOf(DType type, int32_t code) {
  const int32_t mantissa_bits = type == DType::kE5M2 ? 2 : 3;
  const int32_t bias = type == DType::kE5M2 ? 15 : type == DType::kE4M3FN ? 7 : 8;
  const int32_t one = 1 << mantissa_bits;
  int32_t exponent = code >> mantissa_bits;
  int32_t mantissa = code % one;
  if (type == DType::kE4M3FN && code == 0x7f) return 0x7fc0;
  if (type == DType::kE5M2 && exponent == 31) return mantissa == 0 ? 0x7f80 : 0x7fc0;
  if (code == 0) return 0;
  if (exponent == 0) {
    for (exponent = 1; mantissa < one; --exponent) mantissa *= 2;
    mantissa -= one;
  }
  return static_cast<uint16_t>(((exponent - bias + 127) << 7) | (mantissa << (7 - mantissa_bits)));
}

template <DType kType>
constexpr std::array<uint16_t, 128> MakeMagnitudes() {
  std::array<uint16_t, 128> table{};
  for (int32_t code = 0; code < 128; ++code) {
    table[static_cast<size_t>(code)] = MagnitudeOf(kType, code);
  }
  return table;
}

template <DType kType>
alignas(64) inline constexpr std::array<uint16_t, 128> kMagnitudes = MakeMagnitudes<kType>();

// 8-bit floats by looking their magnitudes up.
template <DType kType>
struct ByteFloatCache {
  static constexpr DType kDType = kType;
  static constexpr int64_t kSize = 1;
  static constexpr int32_t kElements = 32;
  static constexpr int32_t Place(int32_t i) { return BFloat16Cache::Place(i); }
  static void Load(const char* from, __m512* to) {
    BFloat16Cache::Split(Convert(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))), to);
  }
  static void LoadSome(const char* from, int32_t count, __m512* to) {
    BFloat16Cache::Split(LoadPairs(from, count), to);
  }
  static void LoadInOrder(const char* from, int32_t count, __m512* to) {
    const __m512i pairs = LoadPairs(from, count);
    to[0] = BFloat16Cache::Widen(_mm512_castsi512_si256(pairs));
    to[1] = BFloat16Cache::Widen(_mm512_extracti64x4_epi64(pairs, 1));
  }
  static __m512i LoadPairs(const char* from, int32_t count) {
    return Convert(_mm256_maskz_loadu_epi8(WordMask(count), from));
  }

 private:
  static __m512i Convert(__m256i bytes) {
    const uint16_t* table = kMagnitudes<kType>.data();
    const __m512i words = _mm512_cvtepu8_epi16(bytes);
    const __m512i small =
        _mm512_permutex2var_epi16(_mm512_load_si512(table), words, _mm512_load_si512(table + 32));
    const __m512i large = _mm512_permutex2var_epi16(_mm512_load_si512(table + 64), words,
                                                    _mm512_load_si512(table + 96));
    const __mmask32 is_large = _mm512_test_epi16_mask(words, _mm512_set1_epi16(0x40));
    __m512i magnitude = _mm512_mask_mov_epi16(small, is_large, large);
    if constexpr (kType == DType::kE4M3FNUZ) {
      const __mmask32 nan = _mm512_cmpeq_epi16_mask(words, _mm512_set1_epi16(0x80));
      magnitude = _mm512_mask_mov_epi16(magnitude, nan, _mm512_set1_epi16(0x7fc0));
    }
    // magnitude | sign
    constexpr int kOrAnd = 0xf8;
    return _mm512_ternarylogic_epi32(magnitude, _mm512_slli_epi16(words, 8),
                                     _mm512_set1_epi16(-0x8000), kOrAnd);
  }
};

using E4M3FNCache = ByteFloatCache<DType::kE4M3FN>;
using E4M3FNUZCache = ByteFloatCache<DType::kE4M3FNUZ>;
using E5M2Cache = ByteFloatCache<DType::kE5M2>;

}  // namespace tessera::x86
TESSERA_TARGET_END
