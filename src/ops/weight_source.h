// A weight matrix as a checkpoint holds it, in memory of the host: rows or columns of one tensor,
// and what it takes to read them.
#pragma once

#include <cstdint>

#include "tessera/dtype.h"

namespace tessera {

enum class WeightFormat : uint8_t {
  kDense,  // [rows, cols] of `dtype`: kFloat32, kFloat16 or kBFloat16
};

struct WeightSource {
  WeightFormat format = WeightFormat::kDense;
  DType dtype = DType::kBFloat16;
  const void* values = nullptr;
  const float* bias = nullptr;  // [rows] or null
  int64_t rows = 0;             // outputs
  int64_t cols = 0;             // inputs
  int64_t row_stride = 0;       // elements from one row to the next: at least cols
};

}  // namespace tessera
