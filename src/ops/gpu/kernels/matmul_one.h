// The matrix kernel for one row of x (the decode of a lone sequence): the time is that of reading
// W.
#pragma once

#include <cstdint>

#include "device/gpu/simt.h"
#include "ops/gpu/kernels/matmul.h"

namespace tessera::ops_gpu {

struct OneRowMemory {
  float sums[kMatmulThreads / 32];  // of the waves
};

// A row of W is shared by args.k_parts waves of a block, k_per_split elements for each; their lanes
// read it side by side, so that each load of a wave is one piece of memory. kAhead loads of a lane
// are on their way at a time; short parts keep blocks short, so that the last ones leave few
// multiprocessors idle. No matrix instructions: they would multiply 15 or 31 rows that are not
// there.
template <DType kWeight, int kWave>
SIMT_DEVICE void MatmulOneBlock(const MatmulArgs& args) {
  constexpr int kAhead = 8 / Elements8<kWeight>::kPieces;
  constexpr int kWaves = kMatmulThreads / kWave;
  constexpr int64_t kStep = int64_t{8} * kWave;
  OneRowMemory* const memory = simt::SharedMemory<OneRowMemory>();
  const int lane = simt::Thread() % kWave, wave = simt::Thread() / kWave;
  const int part = wave % args.k_parts;
  const int64_t col = int64_t{simt::Block()} * (kWaves / args.k_parts) + wave / args.k_parts;
  const int64_t begin = part * args.k_per_split;
  const int64_t limit = begin + args.k_per_split;
  const int64_t end = col < args.n ? (limit < args.k ? limit : args.k) : begin;
  float sum = 0.0f;
  for (int64_t first = begin + int64_t{8} * lane; first < end; first += kStep * kAhead) {
    Elements8<kWeight> w[kAhead];
    SIMT_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      const int64_t k = first + i * kStep;
      // Past the end a piece that exists is read again, and not used.
      w[i] = StreamElements8<kWeight>(args.w, col * args.w_stride + (k < end ? k : first));
    }
    SIMT_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      const int64_t k = first + i * kStep;
      const Floats8 x = UnpackBFloat16(LoadXPiece(args, 0, k));
      const Floats8 f = ToFloats(w[i]);
      SIMT_UNROLL
      for (int j = 0; j < 8; ++j) sum += k < end ? x.v[j] * f.v[j] : 0.0f;
    }
  }
  SIMT_UNROLL
  for (int mask = kWave / 2; mask > 0; mask /= 2) sum += simt::ShuffleXor<kWave>(sum, mask);
  if (lane == 0) memory->sums[wave] = sum;
  simt::Sync();
  if (lane != 0 || part != 0 || col >= args.n) return;
  for (int other = 1; other < args.k_parts; ++other) sum += memory->sums[wave + other];
  StoreSum(args, 0, 0, col, sum);
}

}  // namespace tessera::ops_gpu
