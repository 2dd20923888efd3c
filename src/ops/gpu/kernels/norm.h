// RmsNorm over rows of the residual, with an addition to it first if there is one. All but what is
// added and the result is float32.
#pragma once

#include <cstdint>

#include "device/gpu/simt.h"
#include "ops/gpu/kernels/elements.h"
#include "ops/gpu/kernels/reduce.h"

namespace tessera::ops_gpu {

struct NormKernelArgs {
  float* x;             // [rows, cols]
  const uint16_t* add;  // [rows, cols]; null: none
  const float* weight;  // [cols]
  uint16_t* y;
  int64_t x_stride, add_stride, y_stride;
  int64_t rows, cols;
  float eps;
  int32_t aligned;  // rows and weights begin at multiples of 16 bytes
};

constexpr int kNormThreads = 256;
// Rows up to so long are a wave's; a block takes kNormThreads / wave of them.
constexpr int64_t kNormWaveCols = 512;

// One row by `kThreads` threads, of which this is number `thread`. reduce() adds up over them. For
// a SIMT_EARLY_KERNEL: the weights arrive while the kernel before ends.
template <int kThreads, class Reduce>
SIMT_DEVICE void NormRow(const NormKernelArgs& args, int64_t row, int thread,
                         const Reduce& reduce) {
  constexpr int kKept = 4;  // pieces of a thread that stay in registers from sum to result
  float* const x = args.x + row * args.x_stride;
  const uint16_t* const add = args.add == nullptr ? nullptr : args.add + row * args.add_stride;
  uint16_t* const y = args.y + row * args.y_stride;
  const int64_t pieces = args.aligned != 0 ? args.cols / 8 : 0;
  Floats8 weights[kKept];
  uint32_t loaded = 0;
  SIMT_UNROLL
  for (int i = 0; i < kKept; ++i) {
    const int64_t p = thread + i * kThreads;
    if (p >= pieces) continue;
    weights[i] = ToFloats(LoadElements8<DType::kFloat32>(args.weight, 8 * p));
    loaded |= simt::Bits(weights[i].v[0]) | simt::Bits(weights[i].v[4]);
  }
  simt::WaitForEarlier(static_cast<int32_t>(loaded & 0x7fffffffu));
  simt::LetNextBegin();

  float squares = 0.0f;
  const auto load = [&](int64_t p) {
    Floats8 f = ToFloats(LoadElements8<DType::kFloat32>(x, 8 * p));
    if (add != nullptr) {
      const Floats8 g = UnpackBFloat16(simt::LoadPiece(add + 8 * p));
      SIMT_UNROLL
      for (int i = 0; i < 8; ++i) f.v[i] += g.v[i];
      StoreFloats8(x + 8 * p, f);
    }
    SIMT_UNROLL
    for (int i = 0; i < 8; ++i) squares += f.v[i] * f.v[i];
    return f;
  };
  Floats8 kept[kKept];
  SIMT_UNROLL
  for (int i = 0; i < kKept; ++i) {
    const int64_t p = thread + i * kThreads;
    if (p < pieces) kept[i] = load(p);
  }
  for (int64_t p = thread + kKept * kThreads; p < pieces; p += kThreads) load(p);
  for (int64_t col = 8 * pieces + thread; col < args.cols; col += kThreads) {
    if (add != nullptr) x[col] += FromBFloat16(add[col]);
    squares += x[col] * x[col];
  }

  const float mean = reduce(squares) / static_cast<float>(static_cast<int32_t>(args.cols));
  const float scale = 1.0f / simt::Sqrt(mean + args.eps);
  const auto store = [&](int64_t p, Floats8 f, const Floats8& w) {
    SIMT_UNROLL
    for (int i = 0; i < 8; ++i) f.v[i] = f.v[i] * scale * w.v[i];
    simt::StorePiece(y + 8 * p, PackBFloat16(f));
  };
  SIMT_UNROLL
  for (int i = 0; i < kKept; ++i) {
    const int64_t p = thread + i * kThreads;
    if (p < pieces) store(p, kept[i], weights[i]);
  }
  for (int64_t p = thread + kKept * kThreads; p < pieces; p += kThreads) {
    store(p, ToFloats(LoadElements8<DType::kFloat32>(x, 8 * p)),
          ToFloats(LoadElements8<DType::kFloat32>(args.weight, 8 * p)));
  }
  for (int64_t col = 8 * pieces + thread; col < args.cols; col += kThreads) {
    y[col] = ToBFloat16(x[col] * scale * args.weight[col]);
  }
}

template <int kWave>
struct NormMemory {
  float sums[kNormThreads / kWave];
};

// A block a row.
template <int kWave>
SIMT_DEVICE void NormBlock(const NormKernelArgs& args) {
  auto* const memory = simt::SharedMemory<NormMemory<kWave>>();
  NormRow<kNormThreads>(args, simt::Block(), simt::Thread(), [&](float squares) {
    return BlockReduce<kWave, kNormThreads>(squares, memory->sums, Sum());
  });
}

// A wave a row.
template <int kWave>
SIMT_DEVICE void NormWave(const NormKernelArgs& args) {
  const int64_t row = int64_t{simt::Block()} * (kNormThreads / kWave) + simt::Thread() / kWave;
  if (row >= args.rows) {
    simt::WaitForEarlier();
    return;
  }
  NormRow<kWave>(args, row, simt::Thread() % kWave,
                 [&](float squares) { return WaveReduce<kWave>(squares, Sum()); });
}

}  // namespace tessera::ops_gpu
