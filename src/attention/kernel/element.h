// The element types of a cache, as the CPU policies load them.
#pragma once

#include <cstdint>

#include "tessera/dtype.h"

namespace tessera::kernel {

struct Float32Element {
  using Storage = float;
  static constexpr DType kDType = DType::kFloat32;
  static float Load(const void* row, int32_t i) { return static_cast<const float*>(row)[i]; }
};

struct Float16Element {
  using Storage = uint16_t;
  static constexpr DType kDType = DType::kFloat16;
  static float Load(const void* row, int32_t i) {
    return Float16ToFloat(static_cast<const uint16_t*>(row)[i]);
  }
};

struct BFloat16Element {
  using Storage = uint16_t;
  static constexpr DType kDType = DType::kBFloat16;
  static float Load(const void* row, int32_t i) {
    return BFloat16ToFloat(static_cast<const uint16_t*>(row)[i]);
  }
};

struct E4M3FNElement {
  using Storage = uint8_t;
  static constexpr DType kDType = DType::kE4M3FN;
  static float Load(const void* row, int32_t i) {
    return E4M3FNToFloat(static_cast<const uint8_t*>(row)[i]);
  }
};

struct E4M3FNUZElement {
  using Storage = uint8_t;
  static constexpr DType kDType = DType::kE4M3FNUZ;
  static float Load(const void* row, int32_t i) {
    return E4M3FNUZToFloat(static_cast<const uint8_t*>(row)[i]);
  }
};

struct E5M2Element {
  using Storage = uint8_t;
  static constexpr DType kDType = DType::kE5M2;
  static float Load(const void* row, int32_t i) {
    return E5M2ToFloat(static_cast<const uint8_t*>(row)[i]);
  }
};

struct Int8Element {
  using Storage = uint8_t;
  static constexpr DType kDType = DType::kInt8;
  static float Load(const void* row, int32_t i) {
    return static_cast<float>(static_cast<const int8_t*>(row)[i]);
  }
};

template <class... Elements>
struct ElementList {};
using WideElements = ElementList<Float32Element, Float16Element, BFloat16Element>;
using ByteElements = ElementList<E4M3FNElement, E4M3FNUZElement, E5M2Element, Int8Element>;

}  // namespace tessera::kernel
