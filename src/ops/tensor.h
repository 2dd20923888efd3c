// Plain views of a device's memory.
#pragma once

#include <cstdint>

#include "tessera/dtype.h"

namespace tessera {

// Row-major [rows, cols]; stride = elements from one row to the next.
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;
};

}  // namespace tessera
