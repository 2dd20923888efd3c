// Fragments of 8-bit keys and values straight from shared memory, widened in registers: for waves
// that divide the keys, none of which is then widened twice. Only policies with P::kBytes.
//
// Instructions that read fragments of 16-bit elements take two neighbours of 8 bits for one. So a
// lane gets four dims of a key where it would get two, and two dims of a key where it would get
// one: the order of dims changes, for keys within each K of them (the query follows: DimOfK), and
// for values within each 2 X of them (the output follows: DimOfTile).
//
// They become float16, which also holds each number of the 8-bit types exactly, and which machines
// convert them to with fewer instructions than to bfloat16.
#pragma once

#include <cstdint>

#include "attention/kernel/gpu/lane_elements.h"
#include "attention/kernel/gpu/matrix_policies.h"
#include "device/gpu/simt.h"
#include "tessera/dtype.h"

namespace tessera::kernel::lanes {

// Which of K dims stands where the fragments of keys and query have element k. Pairs stay pairs.
SIMT_CONSTEXPR int DimOfK(int k) { return k % 8 / 2 * 4 + k / 8 * 2 + k % 2; }

// The dim of element x of tile `tile` of the output.
template <class P>
SIMT_CONSTEXPR int DimOfTile(int tile, int x) {
  return tile / 2 * 2 * P::X + 2 * x + tile % 2;
}

#if defined(__CUDA_ARCH__)
// a * b + c for pairs of float16.
SIMT_DEVICE uint32_t MultiplyAddHalves(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t sum;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(b), "r"(c));
  return sum;
}

// Two 8-bit floats with four bits of exponent, in the upper bytes of both halves. A float16's sign,
// exponent and mantissa lie in the same order: the code is shifted to where they are, and
// multiplied by 2 to the difference of the exponents' biases.
template <DType kType>
SIMT_DEVICE uint32_t HalvesOfE4M3(uint32_t codes) {
  constexpr uint32_t kSigns = 0x80008000u, kMagnitudes = 0x7fff7fffu;
  constexpr uint32_t kUnit = kType == DType::kE4M3FN ? 0x5c005c00u : 0x58005800u;  // 2^8, 2^7
  const uint32_t pair =
      MultiplyAddHalves((codes >> 1 & 0x3f803f80u) | (codes & kSigns), kUnit, kSigns);
  const uint32_t nan = kType == DType::kE4M3FN
                           ? ((pair & kMagnitudes) + 0x20802080u) & kSigns  // 480 stands for NaN
                           : pair & ~((pair & kMagnitudes) + kMagnitudes) & kSigns;  // -0 does
  return pair | (nan - (nan >> 6));
}
#endif

// Four 8-bit elements as float16, in pairs of neighbours.
template <DType kType>
SIMT_DEVICE TwoPairs BytesToHalves(uint32_t bytes) {
#if defined(__CUDA_ARCH__)
  if constexpr (kType == DType::kInt8) {
    // A byte as the mantissa of 1024 + 128 + x, from which that is subtracted.
    const uint32_t codes = bytes ^ 0x80808080u, magic = 0x64646464u;
    constexpr uint32_t kOne = 0x3c003c00u, kMinus1152 = 0xe480e480u;
    return {MultiplyAddHalves(__byte_perm(codes, magic, 0x4140), kOne, kMinus1152),
            MultiplyAddHalves(__byte_perm(codes, magic, 0x4342), kOne, kMinus1152)};
  } else if constexpr (kType == DType::kE5M2) {  // the upper half of a float16
    return {__byte_perm(bytes, 0, 0x1404), __byte_perm(bytes, 0, 0x3424)};
  } else {
#if __CUDA_ARCH__ >= 890
    if constexpr (kType == DType::kE4M3FN) {
      TwoPairs pairs;
      asm("{ .reg .b16 low, high;\n"
          "  mov.b32 {low, high}, %2;\n"
          "  cvt.rn.f16x2.e4m3x2 %0, low;\n"
          "  cvt.rn.f16x2.e4m3x2 %1, high; }"
          : "=r"(pairs.low), "=r"(pairs.high)
          : "r"(bytes));
      return pairs;
    }
#endif
    return {HalvesOfE4M3<kType>(__byte_perm(bytes, 0, 0x1404)),
            HalvesOfE4M3<kType>(__byte_perm(bytes, 0, 0x3424))};
  }
#else
  const TwoPairs pairs = WidenBytes<kType>(bytes);
  const auto halves = [](uint32_t pair) {
    return PackPair<DType::kFloat16>(simt::FromBits(pair << 16),
                                     simt::FromBits(pair & 0xffff0000u));
  };
  return {halves(pairs.low), halves(pairs.high)};
#endif
}

// Keys [0, 2 X) at dims [0, 2 K) of `tile` ([key][dim], `stride` bytes): f[k / K][key / X].
template <class P, DType kType>
SIMT_DEVICE void LoadByteKeys(const uint8_t* tile, int stride, int lane, Fragment<P::NX> f[2][2]) {
  uint32_t words[4];
  P::LoadBytes(tile, stride, lane, words);
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) {
    const TwoPairs pairs = BytesToHalves<kType>(words[i]);
    f[i / 2][i % 2] = {{pairs.low, pairs.high}};
  }
}

// Values of K keys at dims [0, 4 X) of `tile`, for four tiles of the output, as float16 or
// bfloat16.
template <class P, DType kType, DType kMatrix>
SIMT_DEVICE void LoadByteValues(const uint8_t* tile, int stride, int lane, Fragment<P::NX> f[4]) {
  uint32_t words[4];
  P::LoadBytesTransposed(tile, stride, lane, words);
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) {  // the even bytes are of one dim, the odd ones of the next
    const uint32_t bytes = simt::EvenBytesFirst(words[i]);
    const TwoPairs pairs =
        kMatrix == DType::kFloat16 ? BytesToHalves<kType>(bytes) : WidenBytes<kType>(bytes);
    f[i / 2 * 2].words[i % 2] = pairs.low;
    f[i / 2 * 2 + 1].words[i % 2] = pairs.high;
  }
}

// A power of two that brings numbers of at most `largest` to float16: at most to 2, so that what
// gets lost is less than 2^-24 of the largest. Its inverse is a float32 as well.
SIMT_DEVICE float ScaleToHalves(float largest) {
  uint32_t exponent = simt::Bits(largest) >> 23 & 0xffu;
  exponent = exponent < 1u ? 1u : exponent;
  exponent = exponent > 253u ? 127u : exponent;  // infinities and what is close to them: as it is
  return simt::FromBits((254u - exponent) << 23);
}

}  // namespace tessera::kernel::lanes
