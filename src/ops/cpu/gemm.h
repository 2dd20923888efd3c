// y = x W^T + b on a PackedMatrix, over a team of threads.
//
// Order of sums, which no kernel may change: element (row, output) starts with the bias and adds
// the products of inputs 0, 1, 2 ... one by one, fused if the machine has a fused multiply-add
// (kBFloat16 with native instructions: pair by pair, as the instruction adds a pair; AMX: 32 inputs
// by 32). Blocks and threads divide rows and outputs only, and a sum that is interrupted continues
// from its float32. So a row's result depends neither on the number of rows nor on that of threads.
#pragma once

#include <cstdint>

#include "base/memory.h"
#include "ops/cpu/packed_matrix.h"
#include "ops/ops.h"
#include "tessera/thread_pool.h"

namespace tessera {

// How a block of activations is laid out for the kernels: at most kBlockDepth inputs of each row,
// rows at a fixed distance, so that a kernel needs one pointer for all of its rows; the distance is
// no multiple of a cache's period.
inline constexpr int64_t kBlockDepth = 512;
inline constexpr int64_t kFloatRowStride = kBlockDepth + 16;     // float32 elements
inline constexpr int64_t kBFloat16RowStride = kBlockDepth + 32;  // bfloat16 elements

// One block: y[rows, columns] (+)= x[rows, depth] times `columns` outputs of the packed matrix.
struct GemmBlock {
  const void* x = nullptr;           // [rows, row stride], float32 or bfloat16, depth padded by 0
  const uint8_t* weights = nullptr;  // the block's first input in the first panel
  int64_t panel_bytes = 0;
  int64_t depth = 0;  // a multiple of PackedMatrix::kDepthMultiple
  int64_t rows = 0;
  int64_t columns = 0;          // from the start of a panel
  const float* bias = nullptr;  // [columns rounded up to 32]; null: the sums in y continue
  float* y = nullptr;
  int64_t y_stride = 0;
};

// A family of kernels.
struct GemmKernels {
  bool bfloat16_rows = false;  // the type of x
  int64_t tile_rows = 1;       // rows that are computed together; x has memory for whole tiles
  // source [rows, stride] float32 -> target [rows, row stride], `depth` inputs and then zeros up to
  // padded_depth.
  void (*prepare)(const float* source, int64_t stride, int64_t rows, int64_t depth,
                  int64_t padded_depth, void* target) = nullptr;
  void (*run)(const GemmBlock& block) = nullptr;
};

// float32 activations; weights of `weight_type` (kFloat32, kFloat16, kBFloat16).
GemmKernels Float32Kernels(DType weight_type);
// bfloat16 activations and weights with AVX512-BF16; `run` is null if the machine lacks it.
GemmKernels Avx512BFloat16Kernels();
// bfloat16 activations and weights with the fastest instructions for it (AMX, AVX512-BF16); `run`
// is null if this machine does not multiply those faster.
GemmKernels BFloat16Kernels();

// y [rows, out_features] and x [rows, in_features] are float32 and do not overlap. `scratch` keeps
// blocks of activations, and its memory from call to call; std::bad_alloc if there is none.
void Gemm(const PackedMatrix& weights, const GemmKernels& kernels, const Tensor& x, const Tensor& y,
          ThreadPool& threads, AlignedBuffer& scratch);

}  // namespace tessera
