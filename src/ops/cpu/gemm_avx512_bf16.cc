// bfloat16 activations with AVX512-BF16: VDPBF16PS adds both products of a pair to a float32 sum.
//
// AMD's Zen 5 runs it at the rate of a float32 fused multiply-add, on twice the inputs; Intel's
// Sapphire Rapids at a quarter of that rate, where the float32 kernels win.

#include "ops/cpu/gemm.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>

#define TESSERA_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#if defined(__clang__)
#define TESSERA_UNROLL _Pragma("unroll 16")
#else
#define TESSERA_UNROLL _Pragma("GCC unroll 16")
#endif

namespace tessera {
namespace {

constexpr int64_t kWidth = PackedMatrix::kPanelWidth;
constexpr int64_t kPairBytes = kWidth * 2 * 2;
constexpr int kTallRows = 12;
constexpr int kWideRows = 6;

// kRows rows of kPanels panels from column `column`, a multiple of 32.
template <int kRows, int kPanels>
TESSERA_TARGET void Tile(const GemmBlock& block, int64_t row, int64_t column) {
  constexpr int kVectors = 2 * kPanels;
  const auto* x = static_cast<const uint16_t*>(block.x) + row * kBFloat16RowStride;
  const uint8_t* weights = block.weights + column / kWidth * block.panel_bytes;
  float* y = block.y + row * block.y_stride + column;
  const int64_t columns = block.columns - column;
  __mmask16 masks[kVectors];
  TESSERA_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const int64_t valid = std::clamp<int64_t>(columns - v * 16, 0, 16);
    masks[v] = static_cast<__mmask16>((1u << valid) - 1);
  }

  __m512 sums[kRows][kVectors];
  TESSERA_UNROLL
  for (int r = 0; r < kRows; ++r) {
    TESSERA_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      sums[r][v] = block.bias != nullptr
                       ? _mm512_loadu_ps(block.bias + column + v * 16)
                       : _mm512_maskz_loadu_ps(masks[v], y + r * block.y_stride + v * 16);
    }
  }
  for (int64_t k = 0; k < block.depth; k += 2) {
    __m512i w[kVectors];
    TESSERA_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      w[v] = _mm512_loadu_si512(weights + v / 2 * block.panel_bytes + v % 2 * 64);
    }
    TESSERA_UNROLL
    for (int r = 0; r < kRows; ++r) {
      int32_t pair;
      __builtin_memcpy(&pair, x + r * kBFloat16RowStride, sizeof pair);
      __m512i a = _mm512_set1_epi32(pair);
#if defined(__clang__)
      // Clang 16 crashes if it folds this broadcast into the instruction below.
      asm("" : "+v"(a));
#endif
      TESSERA_UNROLL
      for (int v = 0; v < kVectors; ++v)
        sums[r][v] = _mm512_dpbf16_ps(sums[r][v], (__m512bh)a, (__m512bh)w[v]);
    }
    x += 2;
    weights += kPairBytes;
  }
  TESSERA_UNROLL
  for (int r = 0; r < kRows; ++r) {
    TESSERA_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      _mm512_mask_storeu_ps(y + r * block.y_stride + v * 16, masks[v], sums[r][v]);
    }
  }
}

// The tile function for `rows` <= kMaxRows rows.
template <int kPanels, int kMaxRows>
void RunTile(const GemmBlock& block, int64_t row, int64_t rows, int64_t column) {
  if constexpr (kMaxRows > 1) {
    if (rows < kMaxRows) {
      RunTile<kPanels, kMaxRows - 1>(block, row, rows, column);
      return;
    }
  }
  Tile<kMaxRows, kPanels>(block, row, column);
}

void Run(const GemmBlock& block) {
  int64_t column = 0;
  if (block.rows <= kWideRows) {
    for (; column + kWidth < block.columns; column += 2 * kWidth) {
      RunTile<2, kWideRows>(block, 0, block.rows, column);
    }
  }
  const int64_t groups = (block.rows + kTallRows - 1) / kTallRows;
  for (; column < block.columns; column += kWidth) {
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t row = group * block.rows / groups;
      RunTile<1, kTallRows>(block, row, (group + 1) * block.rows / groups - row, column);
    }
  }
}

TESSERA_TARGET void RoundRows(const float* source, int64_t stride, int64_t rows, int64_t depth,
                              int64_t padded_depth, void* target) {
  auto* to = static_cast<uint16_t*>(target);
  for (int64_t r = 0; r < rows; ++r, source += stride, to += kBFloat16RowStride) {
    for (int64_t k = 0; k < padded_depth; k += 16) {
      const auto left = static_cast<unsigned>(std::clamp<int64_t>(depth - k, 0, 16));
      const auto padded_left = static_cast<unsigned>(std::min<int64_t>(padded_depth - k, 16));
      const __m512 values =
          _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << left) - 1), source + k);
      _mm256_mask_storeu_epi16(to + k, static_cast<__mmask16>((1u << padded_left) - 1),
                               (__m256i)_mm512_cvtneps_pbh(values));
    }
  }
}

}  // namespace

GemmKernels Avx512BFloat16Kernels() {
  GemmKernels kernels;
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx512bf16") || !__builtin_cpu_supports("avx512vl") ||
      !__builtin_cpu_supports("avx512bw")) {
    return kernels;
  }
  kernels.bfloat16_rows = true;
  kernels.tile_rows = kTallRows;
  kernels.prepare = RoundRows;
  kernels.run = Run;
  return kernels;
}

}  // namespace tessera

#else

namespace tessera {

GemmKernels Avx512BFloat16Kernels() { return {}; }

}  // namespace tessera

#endif
