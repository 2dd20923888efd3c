// Operations that move rows: the gated activation, rows by index, rows of a table, rows of a bias,
// and ids of tokens that the device alone knows.
#pragma once

#include <cstdint>

#include "device/gpu/simt.h"
#include "ops/gpu/kernels/elements.h"

namespace tessera::ops_gpu {

constexpr int kRowThreads = 256;

// Elements of a row that one block takes.
constexpr int64_t kRowPart = 8 * kRowThreads;

struct ActivateKernelArgs {
  const uint16_t* x;  // [rows, 2 cols]: gates, then what they gate
  uint16_t* y;        // [rows, cols]
  int64_t x_stride, y_stride;
  int64_t cols;
  int64_t parts;    // blocks of a row
  int32_t aligned;  // pieces of 8 lie at multiples of 16 bytes
};

SIMT_DEVICE float SiluGate(float gate, float value) {
  return gate / (1.0f + simt::Exp2(-gate * kLog2e)) * value;
}

SIMT_DEVICE void ActivateBlock(const ActivateKernelArgs& args) {
  const int64_t row = simt::Block() / args.parts, part = simt::Block() % args.parts;
  const uint16_t* const x = args.x + row * args.x_stride;
  uint16_t* const y = args.y + row * args.y_stride;
  const int64_t begin = part * kRowPart + 8 * simt::Thread();
  if (args.aligned != 0 && begin + 8 <= args.cols) {
    const Floats8 gate = UnpackBFloat16(simt::LoadPiece(x + begin));
    Floats8 value = UnpackBFloat16(simt::LoadPiece(x + args.cols + begin));
    SIMT_UNROLL
    for (int i = 0; i < 8; ++i) value.v[i] = SiluGate(gate.v[i], value.v[i]);
    simt::StorePiece(y + begin, PackBFloat16(value));
    return;
  }
  SIMT_ROLLED
  for (int64_t col = begin; col < begin + 8 && col < args.cols; ++col) {
    y[col] = ToBFloat16(SiluGate(FromBFloat16(x[col]), FromBFloat16(x[args.cols + col])));
  }
}

// y[i] = the row ids[i] of x, in y's type: float32 or that of x.
struct GatherKernelArgs {
  const void* x;
  const int32_t* ids;
  void* y;
  int64_t x_stride, y_stride;  // in elements
  int64_t cols;
  int64_t parts;
  int32_t x_dtype, y_dtype;
  int32_t aligned;
};

template <DType kFrom, DType kTo>
SIMT_DEVICE void GatherPart(const GatherKernelArgs& args, int64_t row, int64_t begin) {
  const int64_t from = int64_t{args.ids[row]} * args.x_stride, to = row * args.y_stride;
  if (args.aligned != 0 && begin + 8 <= args.cols) {
    const Elements8<kFrom> e = LoadElements8<kFrom>(args.x, from + begin);
    if constexpr (kFrom == kTo) {
      char* const y = static_cast<char*>(args.y) + (to + begin) * Elements8<kTo>::kBytes;
      SIMT_UNROLL
      for (int i = 0; i < Elements8<kFrom>::kPieces; ++i) {
        simt::StorePiece(y + 16 * i, e.pieces[i]);
      }
    } else {
      StoreFloats8(static_cast<float*>(args.y) + to + begin, ToFloats(e));
    }
    return;
  }
  SIMT_ROLLED
  for (int64_t col = begin; col < begin + 8 && col < args.cols; ++col) {
    if constexpr (kTo == DType::kFloat32) {
      static_cast<float*>(args.y)[to + col] = LoadElement<kFrom>(args.x, from + col);
    } else {
      static_cast<uint16_t*>(args.y)[to + col] = static_cast<const uint16_t*>(args.x)[from + col];
    }
  }
}

SIMT_DEVICE void GatherBlock(const GatherKernelArgs& args) {
  const int64_t row = simt::Block() / args.parts;
  const int64_t begin = simt::Block() % args.parts * kRowPart + 8 * simt::Thread();
  const auto from = static_cast<DType>(args.x_dtype);
  if (static_cast<DType>(args.y_dtype) != DType::kFloat32) {
    GatherPart<DType::kBFloat16, DType::kBFloat16>(args, row, begin);
  } else if (from == DType::kFloat32) {
    GatherPart<DType::kFloat32, DType::kFloat32>(args, row, begin);
  } else if (from == DType::kFloat16) {
    GatherPart<DType::kFloat16, DType::kFloat32>(args, row, begin);
  } else {
    GatherPart<DType::kBFloat16, DType::kFloat32>(args, row, begin);
  }
}

// Ids below 0 name a token of the step before, by its row.
struct ResolveIdsKernelArgs {
  int32_t* ids;
  const int32_t* sampled;
  int64_t count;
};

SIMT_DEVICE void ResolveIdsBlock(const ResolveIdsKernelArgs& args) {
  const int64_t i = int64_t{simt::Block()} * kRowThreads + simt::Thread();
  if (i >= args.count) return;
  const int32_t id = args.ids[i];
  if (id < 0) args.ids[i] = args.sampled[-1 - id];
}

// y[i, j] = bias[j], which a matrix library then adds to.
struct FillBiasKernelArgs {
  const float* bias;
  void* y;
  int64_t stride;
  int64_t cols;
  int64_t parts;
  int32_t dtype;  // of y
};

SIMT_DEVICE void FillBiasBlock(const FillBiasKernelArgs& args) {
  const int64_t row = simt::Block() / args.parts;
  const int64_t begin = simt::Block() % args.parts * kRowPart;
  for (int i = 0; i < 8; ++i) {
    const int64_t col = begin + i * kRowThreads + simt::Thread();
    if (col < args.cols) {
      kernel::lanes::StoreElement(static_cast<DType>(args.dtype), args.y, row * args.stride + col,
                                  args.bias[col]);
    }
  }
}

}  // namespace tessera::ops_gpu
