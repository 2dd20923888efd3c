// Elements of tensors as the lanes of a GPU read and write them, in float32.
#pragma once

#include <cstdint>

#include "attention/kernel/gpu/lane_elements.h"
#include "attention/kernel/ops.h"
#include "device/gpu/simt.h"
#include "tessera/dtype.h"

namespace tessera::ops_gpu {

using simt::Piece;

using kernel::kLog2e;

struct Floats8 {
  float v[8];
};

SIMT_DEVICE float FromBFloat16(uint16_t bits) {
  return simt::FromBits(static_cast<uint32_t>(bits) << 16);
}

SIMT_DEVICE float FromFloat16(uint16_t bits) {
#if defined(TESSERA_SIMT_CUDA) && defined(__CUDA_ARCH__)
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
#elif defined(TESSERA_SIMT_HIP)
  return static_cast<float>(__builtin_bit_cast(_Float16, bits));
#elif defined(TESSERA_SIMT_HOST)
  return Float16ToFloat(bits);
#else
  return static_cast<float>(bits);  // nvcc's pass for the host, whose code is never called
#endif
}

template <DType kType>
SIMT_DEVICE float LoadElement(const void* data, int64_t index) {
  if constexpr (kType == DType::kFloat32) {
    return static_cast<const float*>(data)[index];
  } else if constexpr (kType == DType::kFloat16) {
    return FromFloat16(static_cast<const uint16_t*>(data)[index]);
  } else {
    return FromBFloat16(static_cast<const uint16_t*>(data)[index]);
  }
}

// Eight elements as the memory has them: 16 bytes of 16-bit types, 32 of float32.
template <DType kType>
struct Elements8 {
  static constexpr int kPieces = kType == DType::kFloat32 ? 2 : 1;
  static constexpr int64_t kBytes = 2 * kPieces;  // of an element
  Piece pieces[kPieces];
};

template <DType kType>
SIMT_DEVICE Elements8<kType> LoadElements8(const void* data, int64_t index) {
  Elements8<kType> e;
  const char* from = static_cast<const char*>(data) + index * Elements8<kType>::kBytes;
  SIMT_UNROLL
  for (int i = 0; i < Elements8<kType>::kPieces; ++i) {
    e.pieces[i] = simt::LoadPiece(from + 16 * i);
  }
  return e;
}

// The same for what is read once: it does not push other data out of the nearest cache.
template <DType kType>
SIMT_DEVICE Elements8<kType> StreamElements8(const void* data, int64_t index) {
  Elements8<kType> e;
  const char* from = static_cast<const char*>(data) + index * Elements8<kType>::kBytes;
  SIMT_UNROLL
  for (int i = 0; i < Elements8<kType>::kPieces; ++i) {
#if defined(__CUDA_ARCH__)
    uint32_t* w = e.pieces[i].words;
    asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
        : "=r"(w[0]), "=r"(w[1]), "=r"(w[2]), "=r"(w[3])
        : "l"(from + 16 * i));
#else
    e.pieces[i] = simt::LoadPiece(from + 16 * i);
#endif
  }
  return e;
}

template <DType kType>
SIMT_DEVICE Floats8 ToFloats(const Elements8<kType>& e) {
  Floats8 f;
  SIMT_UNROLL
  for (int i = 0; i < 8; ++i) {
    if constexpr (kType == DType::kFloat32) {
      f.v[i] = simt::FromBits(e.pieces[i / 4].words[i % 4]);
    } else {
      const uint32_t word = e.pieces[0].words[i / 2];
      const auto half = static_cast<uint16_t>(i % 2 == 0 ? word & 0xffffu : word >> 16);
      f.v[i] = kType == DType::kFloat16 ? FromFloat16(half) : FromBFloat16(half);
    }
  }
  return f;
}

SIMT_DEVICE Floats8 UnpackBFloat16(const Piece& piece) {
  return ToFloats<DType::kBFloat16>(Elements8<DType::kBFloat16>{{piece}});
}

SIMT_DEVICE Piece PackBFloat16(const Floats8& f) {
  Piece piece;
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) piece.words[i] = simt::PackBFloat16(f.v[2 * i], f.v[2 * i + 1]);
  return piece;
}

SIMT_DEVICE void StoreFloats8(float* p, const Floats8& f) {
  SIMT_UNROLL
  for (int i = 0; i < 8; i += 4) {
    simt::StorePiece(p + i, {{simt::Bits(f.v[i]), simt::Bits(f.v[i + 1]), simt::Bits(f.v[i + 2]),
                              simt::Bits(f.v[i + 3])}});
  }
}

SIMT_DEVICE uint16_t ToBFloat16(float value) {
  return static_cast<uint16_t>(simt::BFloat16Bits(value));
}

}  // namespace tessera::ops_gpu
