// bfloat16 activations with AMX: a tile register holds 16 rows of 32 activations, or 16 pairs of
// inputs for 16 outputs, which is how PackedMatrix keeps them.

#include "ops/cpu/gemm.h"

#if defined(__x86_64__) && defined(__linux__)

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "device/cpu/amx_permission.h"

#define TESSERA_TARGET __attribute__((target("amx-tile,amx-bf16")))

namespace tessera {
namespace {

constexpr int64_t kWidth = PackedMatrix::kPanelWidth;
constexpr int64_t kTileRows = 32;  // two tile registers
constexpr int64_t kTileDepth = 32;
constexpr int64_t kPairBytes = kWidth * 2 * 2;
constexpr int64_t kRowBytes = kBFloat16RowStride * 2;
constexpr int64_t kSumBytes = kWidth * 4;

// LDTILECFG's operand (Intel's Software Developer's Manual, volume 2).
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

// sums [32, 32] += 32 rows of x times a panel; the second 16 rows only with kBoth.
template <bool kBoth>
TESSERA_TARGET void MultiplyTile(const uint8_t* x, const uint8_t* weights, int64_t depth,
                                 float* sums) {
  _tile_loadd(0, sums, kSumBytes);
  _tile_loadd(1, sums + 16, kSumBytes);
  if constexpr (kBoth) {
    _tile_loadd(2, sums + 16 * kWidth, kSumBytes);
    _tile_loadd(3, sums + 16 * kWidth + 16, kSumBytes);
  }
  for (int64_t k = 0; k < depth; k += kTileDepth) {
    _tile_loadd(4, x, kRowBytes);
    _tile_loadd(6, weights, kPairBytes);
    _tile_loadd(7, weights + 64, kPairBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (kBoth) {
      _tile_loadd(5, x + 16 * kRowBytes, kRowBytes);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    x += kTileDepth * 2;
    weights += kTileDepth / 2 * kPairBytes;
  }
  _tile_stored(0, sums, kSumBytes);
  _tile_stored(1, sums + 16, kSumBytes);
  if constexpr (kBoth) {
    _tile_stored(2, sums + 16 * kWidth, kSumBytes);
    _tile_stored(3, sums + 16 * kWidth + 16, kSumBytes);
  }
}

TESSERA_TARGET void Run(const GemmBlock& block) {
  const TileConfig config;
  _tile_loadconfig(&config);
  alignas(64) float sums[kTileRows * kWidth] = {};
  for (int64_t column = 0; column < block.columns; column += kWidth) {
    const uint8_t* weights = block.weights + column / kWidth * block.panel_bytes;
    const auto columns =
        static_cast<size_t>(std::min(kWidth, block.columns - column)) * sizeof(float);
    for (int64_t row = 0; row < block.rows; row += kTileRows) {
      const int64_t rows = std::min(kTileRows, block.rows - row);
      float* y = block.y + row * block.y_stride + column;
      for (int64_t r = 0; r < rows; ++r) {
        const float* start = block.bias != nullptr ? block.bias + column : y + r * block.y_stride;
        std::memcpy(sums + r * kWidth, start, columns);
      }
      const uint8_t* x = static_cast<const uint8_t*>(block.x) + row * kRowBytes;
      if (rows > 16) {
        MultiplyTile<true>(x, weights, block.depth, sums);
      } else {
        MultiplyTile<false>(x, weights, block.depth, sums);
      }
      for (int64_t r = 0; r < rows; ++r) {
        std::memcpy(y + r * block.y_stride, sums + r * kWidth, columns);
      }
    }
  }
  _tile_release();
}

}  // namespace

GemmKernels BFloat16Kernels() {
  GemmKernels kernels = Avx512BFloat16Kernels();
  if (kernels.run == nullptr || __builtin_cpu_is("amd")) return kernels;
  if (!RequestAmx()) return {};
  kernels.tile_rows = kTileRows;
  kernels.run = Run;
  return kernels;
}

}  // namespace tessera

#else

namespace tessera {

GemmKernels BFloat16Kernels() { return Avx512BFloat16Kernels(); }

}  // namespace tessera

#endif
