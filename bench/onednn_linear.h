// A linear layer computed by oneDNN, to compare with.
#pragma once

#include <cstdint>
#include <memory>

#include "tessera/dtype.h"

namespace tessera {

class OneDnnLinear {
 public:
  virtual ~OneDnnLinear() = default;

  // x [rows, in_features] times the weights [in_features, out_features], into float32.
  virtual void Run() = 0;

  // x and weights of ones in `type` (kBFloat16 or kFloat32), the weights once in the order that
  // oneDNN likes best. Null if this machine's oneDNN has no such product. `threads` holds for
  // the whole process.
  static std::unique_ptr<OneDnnLinear> Create(DType type, int64_t rows, int64_t in_features,
                                              int64_t out_features, int threads);
};

}  // namespace tessera
