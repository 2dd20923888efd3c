// The matrix kernel for many rows: a block computes a tile of y from tiles of x and W in shared
// memory, which are filled some stages ahead of their use.
#pragma once

#include <cstdint>

#include "ops/gpu/kernels/matmul.h"
#include "ops/gpu/kernels/matmul_few.h"

namespace tessera::ops_gpu {

// Waves and, in each, instructions along the rows and along the columns of y.
struct TileShape {
  int row_waves = 2, col_waves = 4;
  int row_tiles = 4, col_tiles = 4;
  int depth = 64;  // of a stage, in k
  int stages = 3;
  bool ordered = false;  // sums as matmul.h has them
};

template <class P, DType kWeight, TileShape kShape>
struct Tile {
  static constexpr int kRows = kShape.row_waves * kShape.row_tiles * P::Y;
  static constexpr int kCols = kShape.col_waves * kShape.col_tiles * P::X;
  static constexpr int kDepth = kShape.depth;
  // So that rows lie in different banks: those that are read at a time.
  static constexpr int kStride = kDepth + (kShape.ordered && P::kTransposes ? 32 : 8);
  static constexpr int kStages = kShape.stages;
  static constexpr int kParts = WeightParts<kWeight>::kParts;
  static_assert(kShape.row_waves * kShape.col_waves * P::WAVE == kMatmulThreads);
  static_assert(kDepth % P::K == 0 && 128 % kDepth == 0 && kStages >= 2);
  static_assert(kShape.col_tiles % P::kTiles == 0);

  struct alignas(16) Stage {
    uint16_t x[kRows * kStride];
    uint16_t w[kParts][kCols * kStride];
  };
  struct Memory {
    Stage stages[kStages];
  };
};

// A lane's part of a tile of y.
template <class P, TileShape kShape>
struct TileSums {
  kernel::Accumulator<P::NE> v[kShape.row_tiles][kShape.col_tiles];

  SIMT_METHOD void Add(const TileSums& other) {
    SIMT_UNROLL
    for (int r = 0; r < kShape.row_tiles; ++r) {
      SIMT_UNROLL
      for (int c = 0; c < kShape.col_tiles; ++c) {
        SIMT_UNROLL
        for (int e = 0; e < P::NE; ++e) v[r][c].v[e] += other.v[r][c].v[e];
      }
    }
  }
};

// Tiles of y are taken in groups of so many tiles of rows, whose part of x stays in the cache while
// W passes by.
constexpr int64_t kRasterRows = 16;

template <class T, DType kWeight>
SIMT_DEVICE void LoadStage(const MatmulArgs& args, int64_t first_row, int64_t first_col, int64_t k,
                           int64_t k_end, typename T::Stage* stage) {
  constexpr int kPieces = T::kDepth / 8, kEach = T::kRows * kPieces / kMatmulThreads;
  if (args.x_aligned != 0 && k + T::kDepth <= k_end) {
    SIMT_UNROLL
    for (int i = 0; i < kEach; ++i) {
      const int index = i * kMatmulThreads + simt::Thread();
      const int row = index / kPieces, piece = index % kPieces * 8;
      const bool valid = first_row + row < args.rows;
      const uint16_t* const from =
          args.x + (valid ? (first_row + row) * args.x_stride + k + piece : 0);
      simt::CopyAsync16(stage->x + row * T::kStride + piece, from, valid);
    }
  } else {
    SIMT_ROLLED
    for (int i = 0; i < kEach; ++i) {
      const int index = i * kMatmulThreads + simt::Thread();
      const int row = index / kPieces, piece = index % kPieces * 8;
      const int64_t at = k + piece;
      simt::StorePiece(stage->x + row * T::kStride + piece,
                       at < k_end ? LoadXPiece(args, first_row + row, at) : Piece{});
    }
  }
  SIMT_UNROLL
  for (int i = 0; i < T::kCols * kPieces / kMatmulThreads; ++i) {
    const int index = i * kMatmulThreads + simt::Thread();
    const int col = index / kPieces, piece = index % kPieces * 8;
    const int64_t at = k + piece;
    const bool valid = first_col + col < args.n && at < k_end;
    const int64_t from = valid ? (first_col + col) * args.w_stride + at : 0;
    const int to = col * T::kStride + piece;
    if constexpr (kWeight == DType::kBFloat16) {
      simt::CopyAsync16(stage->w[0] + to, static_cast<const uint16_t*>(args.w) + from, valid);
    } else {
      Elements8<kWeight> e = {};
      if (valid) e = LoadElements8<kWeight>(args.w, from);
      const WeightParts<kWeight> parts = SplitWeights<kWeight>(e);
      SIMT_UNROLL
      for (int p = 0; p < T::kParts; ++p) simt::StorePiece(stage->w[p] + to, parts.parts[p]);
    }
  }
}

// A stage's products, with fragments as the instructions' usual loads have them.
template <class P, DType kWeight, TileShape kShape>
SIMT_DEVICE void MultiplyStage(const typename Tile<P, kWeight, kShape>::Stage& stage, int wave_row,
                               int wave_col, int lane, TileSums<P, kShape>* sums) {
  using T = Tile<P, kWeight, kShape>;
  SIMT_UNROLL
  for (int k = 0; k < T::kDepth; k += P::K) {
    kernel::Fragment<P::NY> y[kShape.row_tiles];
    SIMT_UNROLL
    for (int r = 0; r < kShape.row_tiles; ++r) {
      P::LoadQuery(stage.x + (wave_row + r * P::Y) * T::kStride + k, T::kStride, lane, &y[r]);
    }
    SIMT_UNROLL
    for (int p = 0; p < T::kParts; ++p) {
      SIMT_UNROLL
      for (int c = 0; c < kShape.col_tiles; c += P::kTiles) {
        kernel::Fragment<P::NX> x[P::kTiles];
        P::LoadKeys(stage.w[p] + (wave_col + c * P::X) * T::kStride + k, T::kStride, lane, x);
        SIMT_UNROLL
        for (int i = 0; i < P::kTiles; ++i) {
          SIMT_UNROLL
          for (int r = 0; r < kShape.row_tiles; ++r) {
            P::template MultiplyAdd<DType::kBFloat16>(x[i], y[r], sums->v[r][c + i]);
          }
        }
      }
    }
  }
}

// The same with the fragments of MatmulFewBlock: a lane's piece of eight elements is what it holds
// of one or two instructions.
template <class P, DType kWeight, TileShape kShape>
SIMT_DEVICE void MultiplyStageInOrder(const typename Tile<P, kWeight, kShape>::Stage& stage,
                                      int wave_row, int wave_col, int lane,
                                      TileSums<P, kShape>* sums) {
  using T = Tile<P, kWeight, kShape>;
  using Few = FewRowsShape<P, kWeight, 16>;
  static_assert(T::kDepth % Few::kStep == 0);
  SIMT_UNROLL
  for (int k = 0; k < T::kDepth; k += Few::kStep) {
    const int lane_k = k + 8 * Few::group(lane);
    Piece y[kShape.row_tiles][Few::kRowSlots];
    SIMT_UNROLL
    for (int r = 0; r < kShape.row_tiles; ++r) {
      SIMT_UNROLL
      for (int s = 0; s < Few::kRowSlots; ++s) {
        const int row = wave_row + r * P::Y + P::y(lane, 2 * s);
        y[r][s] = simt::LoadPiece(stage.x + row * T::kStride + lane_k);
      }
    }
    SIMT_UNROLL
    for (int c = 0; c < kShape.col_tiles; ++c) {
      WeightParts<kWeight> w;
      const int col = wave_col + c * P::X + P::x(lane, 0);
      SIMT_UNROLL
      for (int p = 0; p < T::kParts; ++p) {
        w.parts[p] = simt::LoadPiece(stage.w[p] + col * T::kStride + lane_k);
      }
      SIMT_UNROLL
      for (int i = 0; i < Few::kInstructions; ++i) {
        SIMT_UNROLL
        for (int p = 0; p < T::kParts; ++p) {
          const kernel::Fragment<P::NX> x = Few::FragmentOfW(w.parts[p], i);
          SIMT_UNROLL
          for (int r = 0; r < kShape.row_tiles; ++r) {
            P::template MultiplyAdd<DType::kBFloat16>(x, Few::FragmentOfX(y[r], i), sums->v[r][c]);
          }
        }
      }
    }
  }
}

template <class P, DType kWeight, TileShape kShape>
SIMT_DEVICE void MatmulTileBlock(const MatmulArgs& args) {
  using T = Tile<P, kWeight, kShape>;
  auto* const memory = simt::SharedMemory<typename T::Memory>();
  const int lane = simt::Thread() % P::WAVE, wave = simt::Thread() / P::WAVE;
  const int wave_row = wave % kShape.row_waves * (kShape.row_tiles * P::Y);
  const int wave_col = wave / kShape.row_waves * (kShape.col_tiles * P::X);

  const int split = simt::Block() % args.splits;
  const int64_t tile = simt::Block() / args.splits;
  const int64_t row_tiles = (args.rows + T::kRows - 1) / T::kRows;
  const int64_t col_tiles = (args.n + T::kCols - 1) / T::kCols;
  const int64_t group = tile / (kRasterRows * col_tiles);
  const int64_t rest = tile % (kRasterRows * col_tiles);
  const int64_t left = row_tiles - group * kRasterRows;
  const int64_t height = left < kRasterRows ? left : kRasterRows;
  const int64_t first_row = (group * kRasterRows + rest % height) * T::kRows;
  const int64_t first_col = rest / height * T::kCols;

  const int64_t k_begin = split * args.k_per_split;
  const int64_t k_end = k_begin + args.k_per_split < args.k ? k_begin + args.k_per_split : args.k;
  const int steps =
      k_begin < k_end ? static_cast<int>((k_end - k_begin + T::kDepth - 1) / T::kDepth) : 0;
  const auto load = [&](int step) {
    if (step < steps) {
      LoadStage<T, kWeight>(args, first_row, first_col, k_begin + int64_t{step} * T::kDepth, k_end,
                            &memory->stages[step % T::kStages]);
    }
    simt::CommitCopies();
  };

  TileSums<P, kShape> sums = {};
  // Of the parts of k that are done, where sums are ordered.
  TileSums<P, kShape> total = {};
  const int part_steps = kShape.ordered ? static_cast<int>(args.k_per_part / T::kDepth) : 0;
  int part_left = part_steps;  // steps of the part under way
  SIMT_UNROLL
  for (int step = 0; step < T::kStages - 1; ++step) load(step);
  for (int step = 0; step < steps; ++step) {
    simt::WaitForCopies<T::kStages - 2>();
    simt::Sync();  // the stage is there, and everybody has left the one that is filled next
    load(step + T::kStages - 1);
    const typename T::Stage& stage = memory->stages[step % T::kStages];
    if constexpr (kShape.ordered) {
      MultiplyStageInOrder<P, kWeight, kShape>(stage, wave_row, wave_col, lane, &sums);
      if (--part_left == 0 || step + 1 == steps) {
        part_left = part_steps;
        total.Add(sums);
        sums = {};
      }
    } else {
      MultiplyStage<P, kWeight, kShape>(stage, wave_row, wave_col, lane, &sums);
    }
  }
  if constexpr (kShape.ordered) sums = total;

  // Elements 2 i and 2 i + 1 of an accumulator are neighbours in a row of y.
  const bool words = args.splits == 1 && static_cast<DType>(args.y_dtype) == DType::kBFloat16 &&
                     args.y_stride % 2 == 0 && reinterpret_cast<uintptr_t>(args.y) % 4 == 0;
  SIMT_UNROLL
  for (int r = 0; r < kShape.row_tiles; ++r) {
    SIMT_UNROLL
    for (int c = 0; c < kShape.col_tiles; ++c) {
      SIMT_UNROLL
      for (int e = 0; e < P::NE; e += 2) {
        static_assert(P::cx(0, 1) == P::cx(0, 0) + 1 && P::cy(0, 1) == P::cy(0, 0));
        const int64_t row = first_row + wave_row + r * P::Y + P::cy(lane, e);
        const int64_t col = first_col + wave_col + c * P::X + P::cx(lane, e);
        const float low = sums.v[r][c].v[e], high = sums.v[r][c].v[e + 1];
        if (words && row < args.rows && col + 1 < args.n) {
          const float b = args.bias == nullptr ? 0.0f : args.bias[col];
          const float d = args.bias == nullptr ? 0.0f : args.bias[col + 1];
          simt::StoreWord(static_cast<uint16_t*>(args.y) + row * args.y_stride + col,
                          simt::PackBFloat16(low + b, high + d));
        } else {
          StoreSum(args, split, row, col, low);
          StoreSum(args, split, row, col + 1, high);
        }
      }
    }
  }
}

// What each family of matrix instructions uses: big tiles, and small ones for tens of rows. Weights
// that are two matrices take more of the shared memory.
template <class P, DType kWeight>
SIMT_CONSTEXPR TileShape BigTile() {  // 128 x 128
  const int stages = WeightParts<kWeight>::kParts == 1 ? 3 : 2;
  if (P::kTransposes) return {2, 4, 4, 4, 64, stages};
  if (P::WAVE == 64) return {2, 2, 4, 4, 32, 2};
  return {2, 4, 4, 2, 32, 2};
}
template <class P, DType kWeight>
SIMT_CONSTEXPR TileShape SmallTile() {  // 64 x 64
  const int stages = WeightParts<kWeight>::kParts == 1 ? 4 : 3;
  if (P::kTransposes) return {2, 4, 2, 2, 64, stages};
  if (P::WAVE == 64) return {2, 2, 2, 2, 64, 2};
  return {2, 4, 2, 1, 64, 2};
}
SIMT_CONSTEXPR TileShape Ordered(TileShape shape) {
  shape.ordered = true;
  return shape;
}

}  // namespace tessera::ops_gpu
