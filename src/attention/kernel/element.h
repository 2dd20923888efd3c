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

}  // namespace tessera::kernel
