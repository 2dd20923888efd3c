// The matrix kernel for at most 16 rows, which reads the weights once at the memory's rate.
//
// Weights go from memory to the registers of the lane that multiplies them, 16 bytes at a time: the
// order of k inside a matrix instruction is free if both operands agree, so that a lane's eight
// neighbouring elements are what it holds of one or two instructions. The waves of a block divide
// k among them and add up at its end: they take turns, or for ordered sums a part each. x comes
// from the cache.
#pragma once

#include <cstdint>

#include "ops/gpu/kernels/matmul.h"

namespace tessera::ops_gpu {

// kCols columns of y for a block.
template <class P, DType kWeight, int kCols>
struct FewRowsShape {
  static constexpr int kTiles = kCols / P::X;
  static constexpr int kWaves = kMatmulThreads / P::WAVE;
  static constexpr int kElements = 2 * P::NX;          // of a lane in an instruction
  static constexpr int kInstructions = 8 / kElements;  // that a piece of 8 elements is for
  static constexpr int kGroups = P::K / kElements;     // of lanes, which divide k
  static constexpr int kStep = 8 * kGroups;            // k of a piece of every lane
  static constexpr int kRowSlots = P::NY / P::NX;      // rows of x of a lane
  // Pieces that a lane has under way at a time.
  static constexpr int kUnroll = (kWeight == DType::kFloat32 ? 4 : 8) / kTiles;
  static_assert(kUnroll >= 1 && kTiles >= 1 && P::Y == 16);

  // Which of the groups a lane belongs to.
  SIMT_CONSTEXPR int group(int lane) {
    return P::X == 8 ? P::xk(lane, 0) / P::xk(1, 0) : P::xk(lane, 0) / kElements;
  }

  // What instruction i multiplies of a lane's piece of W, and of its pieces of x.
  SIMT_DEVICE kernel::Fragment<P::NX> FragmentOfW(const Piece& piece, int i) {
    kernel::Fragment<P::NX> f;
    SIMT_UNROLL
    for (int v = 0; v < P::NX; ++v) f.words[v] = piece.words[i * P::NX + v];
    return f;
  }
  SIMT_DEVICE kernel::Fragment<P::NY> FragmentOfX(const Piece* pieces, int i) {
    kernel::Fragment<P::NY> f;
    SIMT_UNROLL
    for (int v = 0; v < P::NY; ++v) {
      f.words[v] = pieces[v % kRowSlots].words[i * P::NX + v / kRowSlots];
    }
    return f;
  }

  struct Memory {
    float sums[kWaves][kTiles][P::NE][P::WAVE];
  };
};

// What a lane has loaded for kUnroll steps of k.
template <class P, DType kWeight, int kCols>
struct FewRowsOperands {
  using Shape = FewRowsShape<P, kWeight, kCols>;
  Elements8<kWeight> w[Shape::kUnroll][Shape::kTiles];
  Piece x[Shape::kUnroll][Shape::kRowSlots];
};

// Loads that need no condition: all of k is there. Rows and columns past the end repeat the last
// one; what is computed of them is not read.
template <class P, DType kWeight, int kCols>
SIMT_DEVICE void LoadWholeSteps(const MatmulArgs& args, int64_t first_col, int64_t lane_k, int lane,
                                FewRowsOperands<P, kWeight, kCols>* o) {
  using Shape = FewRowsShape<P, kWeight, kCols>;
  SIMT_UNROLL
  for (int t = 0; t < Shape::kTiles; ++t) {
    const int64_t col = first_col + t * P::X + P::x(lane, 0);
    const int64_t at = (col < args.n ? col : args.n - 1) * args.w_stride + lane_k;
    SIMT_UNROLL
    for (int u = 0; u < Shape::kUnroll; ++u) {
      o->w[u][t] = StreamElements8<kWeight>(args.w, at + u * Shape::kStep);
    }
  }
  SIMT_UNROLL
  for (int s = 0; s < Shape::kRowSlots; ++s) {
    const int64_t row = P::y(lane, 2 * s);
    const uint16_t* const x =
        args.x + (row < args.rows ? row : args.rows - 1) * args.x_stride + lane_k;
    SIMT_UNROLL
    for (int u = 0; u < Shape::kUnroll; ++u) o->x[u][s] = simt::LoadPiece(x + u * Shape::kStep);
  }
}

// The end of k, or an x that is not aligned: what is not there is 0.
template <class P, DType kWeight, int kCols>
SIMT_DEVICE void LoadPartOfSteps(const MatmulArgs& args, int64_t first_col, int64_t lane_k,
                                 int64_t k_end, int lane, FewRowsOperands<P, kWeight, kCols>* o) {
  using Shape = FewRowsShape<P, kWeight, kCols>;
  SIMT_UNROLL
  for (int u = 0; u < Shape::kUnroll; ++u) {
    const int64_t at = lane_k + u * Shape::kStep;
    SIMT_UNROLL
    for (int t = 0; t < Shape::kTiles; ++t) {
      const int64_t col = first_col + t * P::X + P::x(lane, 0);
      o->w[u][t] = {};
      if (col < args.n && at < k_end) {
        o->w[u][t] = StreamElements8<kWeight>(args.w, col * args.w_stride + at);
      }
    }
    SIMT_UNROLL
    for (int s = 0; s < Shape::kRowSlots; ++s) {
      o->x[u][s] = {};
      if (at < k_end) o->x[u][s] = LoadXPiece(args, P::y(lane, 2 * s), at);
    }
  }
}

template <class P, DType kWeight, int kCols>
SIMT_DEVICE void MultiplySteps(const FewRowsOperands<P, kWeight, kCols>& o,
                               kernel::Accumulator<P::NE>* sums) {
  using Shape = FewRowsShape<P, kWeight, kCols>;
  using Parts = WeightParts<kWeight>;
  SIMT_UNROLL
  for (int u = 0; u < Shape::kUnroll; ++u) {
    SIMT_UNROLL
    for (int i = 0; i < Shape::kInstructions; ++i) {
      const kernel::Fragment<P::NY> y = Shape::FragmentOfX(o.x[u], i);
      SIMT_UNROLL
      for (int t = 0; t < Shape::kTiles; ++t) {
        const Parts parts = SplitWeights<kWeight>(o.w[u][t]);
        SIMT_UNROLL
        for (int p = 0; p < Parts::kParts; ++p) {
          P::template MultiplyAdd<DType::kBFloat16>(Shape::FragmentOfW(parts.parts[p], i), y,
                                                    sums[t]);
        }
      }
    }
  }
}

template <class P, DType kWeight, int kCols>
SIMT_DEVICE void MatmulFewBlock(const MatmulArgs& args) {
  using Shape = FewRowsShape<P, kWeight, kCols>;
  constexpr int kTiles = Shape::kTiles, kSteps = Shape::kUnroll * Shape::kStep;
  auto* const memory = simt::SharedMemory<typename Shape::Memory>();
  const int lane = simt::Thread() % P::WAVE, wave = simt::Thread() / P::WAVE;
  const int split = simt::Block() % args.splits;
  const int64_t first_col = int64_t{simt::Block() / args.splits} * kCols;
  const bool ordered = args.k_per_part > 0;
  const int64_t k_begin =
      split * args.k_per_split + wave * (ordered ? args.k_per_part : int64_t{kSteps});
  const int64_t limit = ordered ? k_begin + args.k_per_part : (split + 1) * args.k_per_split;
  const int64_t k_end = limit < args.k ? limit : args.k;
  const int64_t stride = ordered ? int64_t{kSteps} : int64_t{Shape::kWaves} * kSteps;
  const int64_t lane_k = 8 * Shape::group(lane);

  kernel::Accumulator<P::NE> sums[kTiles] = {};
  SIMT_ROLLED
  for (int64_t k = k_begin; k < k_end; k += stride) {
    FewRowsOperands<P, kWeight, kCols> o;
    if (args.x_aligned != 0 && k + kSteps <= k_end) {
      LoadWholeSteps<P, kWeight, kCols>(args, first_col, k + lane_k, lane, &o);
    } else {
      LoadPartOfSteps<P, kWeight, kCols>(args, first_col, k + lane_k, k_end, lane, &o);
    }
    MultiplySteps<P, kWeight, kCols>(o, sums);
  }

  SIMT_UNROLL
  for (int t = 0; t < kTiles; ++t) {
    SIMT_UNROLL
    for (int e = 0; e < P::NE; ++e) memory->sums[wave][t][e][lane] = sums[t].v[e];
  }
  simt::Sync();
  for (int i = simt::Thread(); i < kTiles * P::NE * P::WAVE; i += kMatmulThreads) {
    const int from = i % P::WAVE, e = i / P::WAVE % P::NE, t = i / (P::WAVE * P::NE);
    float sum = 0.0f;
    SIMT_UNROLL
    for (int v = 0; v < Shape::kWaves; ++v) sum += memory->sums[v][t][e][from];
    StoreSum(args, split, P::cy(from, e), first_col + t * P::X + P::cx(from, e), sum);
  }
}

}  // namespace tessera::ops_gpu
