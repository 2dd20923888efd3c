// What the matrix kernels of GPUs share: y[rows, n] = x[rows, k] W[n, k]^T + b.
//
// x is bfloat16. Weights of other types are multiplied as the sum of two bfloat16, which holds a
// float16 exactly and 16 bits of a float32's mantissa; infinite weights become NaN. Sums are
// float32. Rows of W are padded with zeros to a multiple of 8 elements, so that they begin at
// multiples of 16 bytes; x may have any size and stride.
//
// Batch invariance: each kernel computes a row in an order that depends on n, k and how k is
// divided (k_per_split), never on the other rows. The choice of the kernel and of the split by the
// number of rows (matmul_choice.h) is the only thing that lets a batch show in a result. Ordered
// sums are the same bit by bit in every kernel that has them: k is divided in parts of k_per_part,
// each part is the sum of the same instructions on the same elements, and the parts are added in
// the order of k.
#pragma once

#include <cstdint>

#include "attention/kernel/gpu/matrix_policies.h"
#include "device/gpu/simt.h"
#include "ops/gpu/kernels/elements.h"

namespace tessera::ops_gpu {

struct MatmulArgs {
  const uint16_t* x;  // [rows, k]
  const void* w;      // [n, w_stride]
  const float* bias;  // [n] or null
  void* y;            // [rows, n]
  float* partial;     // [splits, rows, n]; used if there are several splits
  int64_t x_stride, w_stride, y_stride;
  int64_t rows, n, k;
  int64_t k_per_split;  // a multiple of 128
  // Ordered sums: a multiple of 128, at most as many parts as a block has waves; 0: as it is
  // quickest.
  int64_t k_per_part;
  int32_t splits;
  int32_t k_parts;  // of matmul_one: waves that share a row of W; 1, 2, 4 or 8
  // Of matmul_one: y[j] = silu(gate) * value, of which gate is column j and value column n / 2 + j.
  int32_t gated;
  int32_t early_blocks;  // of matmul_one: fetch before they may begin
  int32_t x_aligned;     // rows of x begin at multiples of 16 bytes
  int32_t y_dtype;       // bfloat16 or float32
};

constexpr int kMatmulThreads = 256;

// How weights of a type are multiplied: as one or two matrices of bfloat16.
template <DType kWeight>
struct WeightParts {
  static constexpr int kParts = kWeight == DType::kBFloat16 ? 1 : 2;
  Piece parts[kParts];
};

template <DType kWeight>
SIMT_DEVICE WeightParts<kWeight> SplitWeights(const Elements8<kWeight>& e) {
  if constexpr (kWeight == DType::kBFloat16) {
    return {{e.pieces[0]}};
  } else {
    const Floats8 f = ToFloats(e);
    const Piece high = PackBFloat16(f);
    Floats8 rest = UnpackBFloat16(high);
    SIMT_UNROLL
    for (int i = 0; i < 8; ++i) rest.v[i] = f.v[i] - rest.v[i];
    return {{high, PackBFloat16(rest)}};
  }
}

// Elements [k, k + 8) of a row of x; what lies past the end of the row or the rows is 0.
SIMT_DEVICE Piece LoadXPiece(const MatmulArgs& args, int64_t row, int64_t k) {
  if (row >= args.rows || k >= args.k) return {};
  const uint16_t* const p = args.x + row * args.x_stride + k;
  if (args.x_aligned != 0 && k + 8 <= args.k) return simt::LoadPiece(p);
  Piece piece = {};
  SIMT_UNROLL
  for (int i = 0; i < 8; ++i) {
    if (k + i < args.k) {
      piece.words[i / 2] |= static_cast<uint32_t>(p[i]) << (i % 2 == 0 ? 0 : 16);
    }
  }
  return piece;
}

SIMT_DEVICE void StoreElement(const MatmulArgs& args, int64_t row, int64_t col, float value) {
  const int64_t at = row * args.y_stride + col;
  if (static_cast<DType>(args.y_dtype) == DType::kFloat32) {
    static_cast<float*>(args.y)[at] = value;
  } else {
    static_cast<uint16_t*>(args.y)[at] = ToBFloat16(value);
  }
}

// A sum goes to y, or, if it is one of several, to the partial sums.
SIMT_DEVICE void StoreSum(const MatmulArgs& args, int split, int64_t row, int64_t col, float sum) {
  if (row >= args.rows || col >= args.n) return;
  if (args.splits > 1) {
    args.partial[(int64_t{split} * args.rows + row) * args.n + col] = sum;
    return;
  }
  if (args.bias != nullptr) sum += args.bias[col];
  StoreElement(args, row, col, sum);
}

// Adds up the partial sums in the order of k. A thread for each element of y.
SIMT_DEVICE void SumSplitsBlock(const MatmulArgs& args) {
  const int64_t i = int64_t{simt::Block()} * kMatmulThreads + simt::Thread();
  if (i >= args.rows * args.n) return;
  float sum = 0.0f;
  for (int split = 0; split < args.splits; ++split) {
    sum += args.partial[split * args.rows * args.n + i];
  }
  MatmulArgs whole = args;
  whole.splits = 1;
  StoreSum(whole, 0, i / args.n, i % args.n, sum);
}

}  // namespace tessera::ops_gpu
