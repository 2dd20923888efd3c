// The matrix kernels in float32, for every SIMD family that Highway knows.
//
// A tile of y stays in registers while the depth runs by: kRows rows of kVectors vectors. Weights
// of 16 bits become float32 on the way from the cache; a bfloat16 pair takes a shift and a mask.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "ops/cpu/gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/gemm_kernels.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace tessera {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kWidth = PackedMatrix::kPanelWidth;

// Vectors of at most 16 lanes: a panel has two of them or more.
using FloatTag = hn::CappedTag<float, 16>;
constexpr FloatTag kFloats;
using Vector = hn::Vec<FloatTag>;
constexpr int64_t kLanes = HWY_TARGET == HWY_SCALAR ? 1
                           : HWY_MAX_BYTES < 64     ? HWY_MAX_BYTES / 4
                                                    : 16;

// Accumulators that leave registers for a row's value, the weights and a mask.
constexpr int kAccumulators = (HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64) ? 24 : 12;
// Two vectors for many rows; four for few rows, which need independent sums.
constexpr int kTallRows = kAccumulators / 2;
constexpr int kWideRows = kAccumulators / 4;

// Two consecutive inputs' weights of one vector of outputs, from the panel's row of that pair.
template <DType kType>
struct Weights;

template <>
struct Weights<DType::kFloat32> {
  static constexpr int64_t kBytes = 4;
  static HWY_INLINE Vector First(const uint8_t* pair, int64_t lane) {
    return hn::LoadU(kFloats, reinterpret_cast<const float*>(pair) + lane);
  }
  static HWY_INLINE Vector Second(const uint8_t* pair, int64_t lane) {
    return hn::LoadU(kFloats, reinterpret_cast<const float*>(pair) + kWidth + lane);
  }
};

using BitsTag = hn::RebindToUnsigned<FloatTag>;

static HWY_INLINE hn::Vec<BitsTag> LoadPair(const uint8_t* pair, int64_t lane) {
  return hn::LoadU(BitsTag(), reinterpret_cast<const uint32_t*>(pair) + lane);
}

template <>
struct Weights<DType::kBFloat16> {
  static constexpr int64_t kBytes = 2;
  static HWY_INLINE Vector First(const uint8_t* pair, int64_t lane) {
    return hn::BitCast(kFloats, hn::ShiftLeft<16>(LoadPair(pair, lane)));
  }
  static HWY_INLINE Vector Second(const uint8_t* pair, int64_t lane) {
    return hn::BitCast(kFloats, hn::And(LoadPair(pair, lane), hn::Set(BitsTag(), 0xffff0000u)));
  }
};

template <>
struct Weights<DType::kFloat16> {
  static constexpr int64_t kBytes = 2;
  using HalfBitsTag = hn::Rebind<uint16_t, FloatTag>;
  using HalfTag = hn::Rebind<hwy::float16_t, FloatTag>;
  static HWY_INLINE Vector Promote(hn::Vec<BitsTag> bits) {
    return hn::PromoteTo(kFloats, hn::BitCast(HalfTag(), hn::TruncateTo(HalfBitsTag(), bits)));
  }
  static HWY_INLINE Vector First(const uint8_t* pair, int64_t lane) {
    return Promote(hn::And(LoadPair(pair, lane), hn::Set(BitsTag(), 0xffffu)));
  }
  static HWY_INLINE Vector Second(const uint8_t* pair, int64_t lane) {
    return Promote(hn::ShiftRight<16>(LoadPair(pair, lane)));
  }
};

// One tile: kRows rows, kVectors vectors of outputs from column `column` of the block.
template <DType kType, int kRows, int kVectors>
HWY_NOINLINE void Tile(const GemmBlock& block, int64_t row, int64_t column) {
  using W = Weights<kType>;
  const float* HWY_RESTRICT x = static_cast<const float*>(block.x) + row * kFloatRowStride;
  // A tile as wide as two panels reads from both, else from one.
  constexpr bool kTwoPanels = kVectors * kLanes > kWidth;
  const uint8_t* HWY_RESTRICT weights = block.weights + column / kWidth * block.panel_bytes;
  const uint8_t* HWY_RESTRICT next = kTwoPanels ? weights + block.panel_bytes : weights;
  const int64_t first_lane = column % kWidth;
  const int64_t columns = std::min<int64_t>(block.columns - column, kVectors * kLanes);
  float* HWY_RESTRICT y = block.y + row * block.y_stride + column;
  const bool whole = columns == kVectors * kLanes;

  Vector sums[kRows][kVectors];
  if (block.bias != nullptr) {
    HWY_UNROLL(16)
    for (int v = 0; v < kVectors; ++v) {
      const Vector bias = hn::LoadU(kFloats, block.bias + column + v * kLanes);
      HWY_UNROLL(16)
      for (int r = 0; r < kRows; ++r) sums[r][v] = bias;
    }
  } else {
    float edge[kVectors * kLanes] = {};
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      const float* from = y + r * block.y_stride;
      if (!whole) {
        std::memcpy(edge, from, static_cast<size_t>(columns) * sizeof(float));
        from = edge;
      }
      HWY_UNROLL(16)
      for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::LoadU(kFloats, from + v * kLanes);
    }
  }

  for (int64_t k = 0; k < block.depth; k += 2) {
    Vector w[kVectors];
    HWY_UNROLL(16)
    for (int v = 0; v < kVectors; ++v) {
      const int64_t lane = v * kLanes;
      w[v] = lane < kWidth ? W::First(weights, first_lane + lane) : W::First(next, lane - kWidth);
    }
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      const Vector a = hn::Set(kFloats, x[r * kFloatRowStride]);
      HWY_UNROLL(16)
      for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::MulAdd(a, w[v], sums[r][v]);
    }
    HWY_UNROLL(16)
    for (int v = 0; v < kVectors; ++v) {
      const int64_t lane = v * kLanes;
      w[v] = lane < kWidth ? W::Second(weights, first_lane + lane) : W::Second(next, lane - kWidth);
    }
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      const Vector a = hn::Set(kFloats, x[r * kFloatRowStride + 1]);
      HWY_UNROLL(16)
      for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::MulAdd(a, w[v], sums[r][v]);
    }
    x += 2;
    weights += 2 * kWidth * W::kBytes;
    if (kTwoPanels) next += 2 * kWidth * W::kBytes;
  }

  float edge[kVectors * kLanes];
  HWY_UNROLL(16)
  for (int r = 0; r < kRows; ++r) {
    float* to = y + r * block.y_stride;
    HWY_UNROLL(16)
    for (int v = 0; v < kVectors; ++v) {
      hn::StoreU(sums[r][v], kFloats, (whole ? to : edge) + v * kLanes);
    }
    if (!whole) std::memcpy(to, edge, static_cast<size_t>(columns) * sizeof(float));
  }
}

// The tile function for `rows` <= kMaxRows rows.
template <DType kType, int kVectors, int kMaxRows>
HWY_INLINE void RunTile(const GemmBlock& block, int64_t row, int64_t rows, int64_t column) {
  if constexpr (kMaxRows > 1) {
    if (rows < kMaxRows) {
      RunTile<kType, kVectors, kMaxRows - 1>(block, row, rows, column);
      return;
    }
  }
  Tile<kType, kMaxRows, kVectors>(block, row, column);
}

template <DType kType>
void Run(const GemmBlock& block) {
  int64_t column = 0;
  if (block.rows <= kWideRows) {
    // The second panel of a wide tile must exist.
    constexpr int64_t kWide = 4 * kLanes;
    const int64_t padded = (block.columns + kWidth - 1) / kWidth * kWidth;
    for (; column + kWide <= padded && column < block.columns; column += kWide) {
      RunTile<kType, 4, kWideRows>(block, 0, block.rows, column);
    }
  }
  const int64_t groups = (block.rows + kTallRows - 1) / kTallRows;
  for (; column < block.columns; column += 2 * kLanes) {
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t row = group * block.rows / groups;
      RunTile<kType, 2, kTallRows>(block, row, (group + 1) * block.rows / groups - row, column);
    }
  }
}

void RunFloat32(const GemmBlock& block) { Run<DType::kFloat32>(block); }
void RunFloat16(const GemmBlock& block) { Run<DType::kFloat16>(block); }
void RunBFloat16(const GemmBlock& block) { Run<DType::kBFloat16>(block); }

int64_t TileRows() { return kTallRows; }

}  // namespace HWY_NAMESPACE
}  // namespace tessera
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tessera {
namespace {

HWY_EXPORT(RunFloat32);
HWY_EXPORT(RunFloat16);
HWY_EXPORT(RunBFloat16);
HWY_EXPORT(TileRows);

void MultiplyFloat32(const GemmBlock& block) { HWY_DYNAMIC_DISPATCH(RunFloat32)(block); }
void MultiplyFloat16(const GemmBlock& block) { HWY_DYNAMIC_DISPATCH(RunFloat16)(block); }
void MultiplyBFloat16(const GemmBlock& block) { HWY_DYNAMIC_DISPATCH(RunBFloat16)(block); }

void CopyRows(const float* source, int64_t stride, int64_t rows, int64_t depth,
              int64_t padded_depth, void* target) {
  auto* to = static_cast<float*>(target);
  for (int64_t r = 0; r < rows; ++r, source += stride, to += kFloatRowStride) {
    std::copy_n(source, depth, to);
    std::fill(to + depth, to + padded_depth, 0.0f);
  }
}

}  // namespace

GemmKernels Float32Kernels(DType weight_type) {
  GemmKernels kernels;
  kernels.tile_rows = HWY_DYNAMIC_DISPATCH(TileRows)();
  kernels.prepare = CopyRows;
  switch (weight_type) {
    case DType::kFloat16:
      kernels.run = MultiplyFloat16;
      break;
    case DType::kBFloat16:
      kernels.run = MultiplyBFloat16;
      break;
    default:
      kernels.run = MultiplyFloat32;
  }
  return kernels;
}

}  // namespace tessera
#endif  // HWY_ONCE
