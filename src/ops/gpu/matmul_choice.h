// Which matrix kernel computes a product: one small function, to be tuned by measurement
// (bench/gpu/time_ops.cc).
#pragma once

#include <cstdint>

namespace tessera::ops_gpu {

enum class MatmulKernel : int32_t {
  kFew16,    // up to 16 rows; blocks of 16 columns
  kFew32,    // likewise, with blocks of 32 columns
  kTile64,   // tiles of 64 x 64
  kTile128,  // tiles of 128 x 128
  kTile64Ordered,
  kTile128Ordered,
  kOne,      // one row
  kLibrary,  // the vendor's matrix library
};
constexpr int kMatmulKernels = 7;  // of our own

struct MatmulShape {
  int64_t rows = 0, n = 0, k = 0;
  int32_t units = 1;             // multiprocessors
  bool library = false;          // there is one that takes the operands
  int32_t waves = 4;             // of a block: as many on every machine
  int64_t partial_elements = 0;  // room for the sums of parts of k
  // Not 0: sums are to be ordered (kernels/matmul.h), in so many parts: the waves of a block.
  int32_t ordered_parts = 0;
};

struct MatmulChoice {
  MatmulKernel kernel = MatmulKernel::kTile128;
  int32_t splits = 1;  // of k
  int64_t k_per_split = 0;
  int32_t k_parts = 1;     // with kOne: waves that share a row of W
  int64_t k_per_part = 0;  // of ordered sums
};

// The most rows for which weights are streamed. Without a library, what it computes of a row does
// not depend on how many rows there are, from two up to here.
constexpr int64_t kStreamedRows = 16;

MatmulChoice ChooseMatmul(const MatmulShape& shape);

}  // namespace tessera::ops_gpu
