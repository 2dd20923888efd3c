// The element types of caches, queries and outputs as GPU lanes convert them: with integers and
// float32 alone, so that every machine can.
//
// Matrix instructions multiply float16 where the cache is of that type, otherwise bfloat16, which
// holds each number of the 8-bit types exactly (byte_fragments.h makes them float16).
#pragma once

#include <cstdint>

#include "device/gpu/simt.h"
#include "tessera/dtype.h"

namespace tessera::kernel::lanes {

SIMT_CONSTEXPR bool IsByte(DType type) {
  return type != DType::kFloat32 && type != DType::kFloat16 && type != DType::kBFloat16;
}

struct TwoPairs {
  uint32_t low;
  uint32_t high;
};

// Two float32 that are bfloat16 as a pair of those.
SIMT_DEVICE uint32_t UpperHalves(float low, float high) {
  return (simt::Bits(low) >> 16) | (simt::Bits(high) & 0xffff0000u);
}

// Two bfloat16, each multiplied with 2^kExponent: exact where the products are bfloat16, denormal
// operands too.
template <int kExponent>
SIMT_DEVICE uint32_t ScalePair(uint32_t pair) {
#if defined(__CUDA_ARCH__)
  constexpr uint32_t kFactor = (127u + kExponent) << 7;
  uint32_t product;
  // -0 is what can be added without changing a 0's sign.
  asm("fma.rn.bf16x2 %0, %1, %2, %3;"
      : "=r"(product)
      : "r"(pair), "r"(kFactor | (kFactor << 16)), "r"(0x80008000u));
  return product;
#else
  const float factor = simt::FromBits((127u + kExponent) << 23);
  return UpperHalves(simt::FromBits(pair << 16) * factor,
                     simt::FromBits(pair & 0xffff0000u) * factor);
#endif
}

// 8-bit elements in the upper bytes of both halves as bfloat16, but for the codes that
// AddSpecials() corrects. A bfloat16's sign, exponent and mantissa lie in the same order: the code
// is shifted to where they are, and multiplied by 2 to the difference of the exponents' biases.
template <DType kType>
SIMT_DEVICE uint32_t WidenHalves(uint32_t halves) {
  if constexpr (kType == DType::kInt8) {
#if defined(__CUDA_ARCH__)
    // 128 and the lower seven bits, minus 128, or 256 where the sign is set.
    const uint32_t codes = halves >> 8;
    uint32_t sum;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;"
        : "=r"(sum)
        : "r"((codes & 0x007f007fu) | 0x43004300u), "r"(0x3f803f80u),
          "r"((codes & 0x00800080u) | 0xc300c300u));
    return sum;
#else
    return UpperHalves(static_cast<float>(static_cast<int32_t>(halves << 16) >> 24),
                       static_cast<float>(static_cast<int32_t>(halves) >> 24));
#endif
  } else {
    constexpr uint32_t kSigns = 0x80008000u;
    if constexpr (kType == DType::kE5M2) {
      return ScalePair<112>(((halves >> 3) & 0x0fe00fe0u) | (halves & kSigns));
    } else {
      constexpr int kExponent = kType == DType::kE4M3FN ? 120 : 119;
      return ScalePair<kExponent>(((halves >> 4) & 0x07f007f0u) | (halves & kSigns));
    }
  }
}

// Infinities and NaN, which came out as numbers, in a pair of bfloat16.
template <DType kType>
SIMT_DEVICE uint32_t AddSpecials(uint32_t pair) {
  constexpr uint32_t kMagnitudes = 0x7fff7fffu, kSigns = 0x80008000u;
  if constexpr (kType == DType::kE4M3FN) {  // 480 stands for NaN: 0x43f0 and more overflow
    const uint32_t nan = ((pair & kMagnitudes) + 0x3c103c10u) & kSigns;
    return pair | (nan - (nan >> 9));
  } else if constexpr (kType == DType::kE4M3FNUZ) {  // -0 does
    const uint32_t nan = pair & ~((pair & kMagnitudes) + kMagnitudes) & kSigns;
    return pair | (nan - (nan >> 9));
  } else if constexpr (kType == DType::kE5M2) {  // 65536 (0x4780) and more: the mantissa decides
    const uint32_t special = ((pair & kMagnitudes) + 0x38803880u) & kSigns;
    return pair | (special - (special >> 8));
  } else {
    return pair;
  }
}

// Four 8-bit elements as bfloat16, in pairs of neighbours.
template <DType kType>
SIMT_DEVICE TwoPairs WidenBytes(uint32_t bytes) {
#if defined(__CUDA_ARCH__)
  const uint32_t low = __byte_perm(bytes, 0, 0x1404), high = __byte_perm(bytes, 0, 0x3424);
#else
  const uint32_t low = (bytes << 16) | ((bytes << 8) & 0xff00u);
  const uint32_t high = (bytes & 0xff000000u) | (bytes >> 8 & 0xffffu);
#endif
  return {AddSpecials<kType>(WidenHalves<kType>(low)),
          AddSpecials<kType>(WidenHalves<kType>(high))};
}

// float32 to a type with `mantissa_bits` and that exponent bias, rounded to nearest even: the code
// without its sign, at most `largest`.
SIMT_DEVICE uint32_t EncodeMagnitude(uint32_t magnitude, int mantissa_bits, int bias,
                                     uint32_t largest) {
  const int shift = 23 - mantissa_bits;
  if (magnitude < static_cast<uint32_t>(128 - bias) << 23) {
    // Where a float's last bit is worth one denormal step of the type, the addition rounds.
    const uint32_t magic = static_cast<uint32_t>(128 - bias + shift) << 23;
    return simt::Bits(simt::FromBits(magnitude) + simt::FromBits(magic)) - magic;
  }
  const uint32_t rounded = magnitude + ((1u << (shift - 1)) - 1u) + ((magnitude >> shift) & 1u);
  const uint32_t code = (rounded >> shift) - (static_cast<uint32_t>(127 - bias) << mantissa_bits);
  return code < largest ? code : largest;
}

SIMT_DEVICE uint32_t Float16Bits(float value) {
  const uint32_t bits = simt::Bits(value), magnitude = bits & 0x7fffffffu;
  const uint32_t code =
      magnitude > 0x7f800000u ? 0x7e00u : EncodeMagnitude(magnitude, 10, 15, 0x7c00u);
  return code | (bits >> 31 << 15);
}

// To an 8-bit float of an output; too large values saturate.
SIMT_DEVICE uint8_t ByteFloatBits(DType type, float value) {
  const uint32_t bits = simt::Bits(value), magnitude = bits & 0x7fffffffu;
  const bool nan = magnitude > 0x7f800000u;
  uint32_t code = 0;
  if (type == DType::kE4M3FNUZ) {
    code = EncodeMagnitude(magnitude, 3, 8, 0x7fu);
    if (nan) code = 0x80u;
    if (nan || code == 0) return static_cast<uint8_t>(code);  // no -0
  } else if (type == DType::kE4M3FN) {
    code = nan ? 0x7fu : EncodeMagnitude(magnitude, 3, 7, 0x7eu);
  } else {
    code = nan ? 0x7eu : EncodeMagnitude(magnitude, 2, 15, 0x7bu);
  }
  return static_cast<uint8_t>(code | (bits >> 31 << 7));
}

SIMT_DEVICE void StoreElement(DType type, void* data, int64_t index, float value) {
  if (type == DType::kFloat32) {
    static_cast<float*>(data)[index] = value;
  } else if (type == DType::kBFloat16) {
    static_cast<uint16_t*>(data)[index] = static_cast<uint16_t>(simt::BFloat16Bits(value));
  } else if (type == DType::kFloat16) {
    static_cast<uint16_t*>(data)[index] = static_cast<uint16_t>(Float16Bits(value));
  } else {
    static_cast<uint8_t*>(data)[index] = ByteFloatBits(type, value);
  }
}

// What matrix instructions multiply with a cache of this type.
constexpr DType MatrixType(DType cache) {
  return cache == DType::kFloat16 ? DType::kFloat16 : DType::kBFloat16;
}

// A pair of float32 as that type.
template <DType kMatrix>
SIMT_DEVICE uint32_t PackPair(float low, float high) {
  if constexpr (kMatrix == DType::kBFloat16) {
    return simt::PackBFloat16(low, high);
  } else {
#if defined(__CUDA_ARCH__)
    uint32_t word;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
#elif defined(TESSERA_SIMT_HIP)
    typedef _Float16 Half2 __attribute__((ext_vector_type(2)));
    const Half2 pair = {static_cast<_Float16>(low), static_cast<_Float16>(high)};
    return __builtin_bit_cast(uint32_t, pair);
#else
    return Float16Bits(low) | (Float16Bits(high) << 16);
#endif
  }
}

// Elements `index` and index + 1 of a row of `size` as a pair of kMatrix, 0 past its end. Rows of
// 16 bits are of that type already.
template <DType kMatrix>
SIMT_DEVICE uint32_t LoadQueryPair(DType type, const void* row, int index, int size) {
  if (index >= size) return 0;
  const bool both = index + 1 < size;
  if (!IsByte(type)) {
    const uint16_t* p = static_cast<const uint16_t*>(row) + index;
    return p[0] | (both ? static_cast<uint32_t>(p[1]) << 16 : 0u);
  }
  const uint8_t* p = static_cast<const uint8_t*>(row) + index;
  const uint32_t bytes = p[0] | (both ? static_cast<uint32_t>(p[1]) << 8 : 0u);
  uint32_t pair = 0;
  if (type == DType::kE4M3FN) {
    pair = WidenBytes<DType::kE4M3FN>(bytes).low;
  } else if (type == DType::kE4M3FNUZ) {
    pair = WidenBytes<DType::kE4M3FNUZ>(bytes).low;
  } else {
    pair = WidenBytes<DType::kE5M2>(bytes).low;
  }
  if constexpr (kMatrix == DType::kFloat16) {
    return PackPair<kMatrix>(simt::FromBits(pair << 16), simt::FromBits(pair & 0xffff0000u));
  }
  return pair;
}

}  // namespace tessera::kernel::lanes
