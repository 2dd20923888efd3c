// The matrix kernel for one row of x (the decode of a lone sequence): the time is that of reading
// W.
#pragma once

#include <cstdint>

#include "device/gpu/simt.h"
#include "ops/gpu/kernels/matmul.h"
#include "ops/gpu/kernels/rows.h"

namespace tessera::ops_gpu {

struct OneRowMemory {
  float sums[kMatmulThreads / 32];  // of the waves
};

// A row of W is shared by args.k_parts waves of a block, k_per_split elements for each; their lanes
// read it side by side, so that each load of a wave is one piece of memory. kAhead loads of a lane
// are on their way at a time; short parts keep blocks short, so that the last ones leave few
// multiprocessors idle. No matrix instructions: they would multiply 15 or 31 rows that are not
// there. If the product is gated, a block has as many gates as rows that they gate.
template <DType kWeight, int kWave>
SIMT_DEVICE void MatmulOneBlock(const MatmulArgs& args) {
  constexpr int kAhead = 8 / Elements8<kWeight>::kPieces;
  constexpr int kWaves = kMatmulThreads / kWave;
  constexpr int64_t kStep = int64_t{8} * kWave;
  OneRowMemory* const memory = simt::SharedMemory<OneRowMemory>();
  const int lane = simt::Thread() % kWave, wave = simt::Thread() / kWave;
  const int part = wave % args.k_parts, row = wave / args.k_parts, rows = kWaves / args.k_parts;
  const int64_t half = args.gated != 0 ? args.n / 2 : args.n;  // columns of y
  const int gated = args.gated != 0 ? rows / 2 : rows;         // of them a block has
  const int64_t y = int64_t{simt::Block()} * gated + row % gated;
  const int64_t col = row < gated ? y : y + half;
  const int64_t begin = part * args.k_per_split;
  const int64_t limit = begin + args.k_per_split;
  const int64_t end = y < half ? (limit < args.k ? limit : args.k) : begin;
  const int64_t from = y < half ? col * args.w_stride : 0;
  // The first blocks fetch what they read of W while x is still being computed.
  if (lane == 0 && begin < end && simt::Block() < args.early_blocks) {
    simt::PrefetchL2(static_cast<const char*>(args.w) + (from + begin) * Elements8<kWeight>::kBytes,
                     ((end - begin + 7) / 8 * 8) * Elements8<kWeight>::kBytes);
  }
  simt::WaitForEarlier();
  simt::LetNextBegin();
  Elements8<kWeight> w[kAhead];
  const auto load = [&](int64_t first) {
    SIMT_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      // Past the end a piece that exists is read, and not used.
      const int64_t k = first + i * kStep;
      w[i] = StreamElements8<kWeight>(args.w, from + (k < end ? k : 0));
    }
  };
  float sum = 0.0f;
  int64_t first = begin + int64_t{8} * lane;
  load(first);
  while (first < end) {
    SIMT_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      const int64_t k = first + i * kStep;
      const Floats8 x = UnpackBFloat16(LoadXPiece(args, 0, k));
      const Floats8 f = ToFloats(w[i]);
      SIMT_UNROLL
      for (int j = 0; j < 8; ++j) sum += k < end ? x.v[j] * f.v[j] : 0.0f;
    }
    first += kStep * kAhead;
    if (first < end) load(first);
  }
  SIMT_UNROLL
  for (int mask = kWave / 2; mask > 0; mask /= 2) sum += simt::ShuffleXor<kWave>(sum, mask);
  if (lane == 0) memory->sums[wave] = sum;
  simt::Sync();
  if (lane != 0 || part != 0 || row >= gated || y >= half) return;
  const auto total = [&](int begin_wave, int64_t column) {
    float all = args.bias == nullptr ? 0.0f : args.bias[column];
    for (int i = 0; i < args.k_parts; ++i) all += memory->sums[begin_wave + i];
    return all;
  };
  sum = total(wave, col);
  if (args.gated != 0) sum = SiluGate(sum, total(wave + gated * args.k_parts, col + half));
  StoreElement(args, 0, y, sum);
}

}  // namespace tessera::ops_gpu
