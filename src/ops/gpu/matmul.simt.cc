// Matrix kernels. Names end in the family of matrix instructions and the type of the weights.
#include "device/gpu/simt.h"
#include "ops/gpu/kernels/matmul_few.h"
#include "ops/gpu/kernels/matmul_one.h"
#include "ops/gpu/kernels/matmul_tile.h"

namespace tessera::ops_gpu {

// clang-format off
#define MATMUL_KERNELS(family, type, P, kType)                                                 \
  SIMT_KERNEL(matmul_few16_##family##_##type, MatmulArgs, kMatmulThreads, 2) {                 \
    MatmulFewBlock<P, kType, 16>(args);                                                        \
  }                                                                                            \
  SIMT_KERNEL(matmul_few32_##family##_##type, MatmulArgs, kMatmulThreads, 2) {                 \
    MatmulFewBlock<P, kType, 32>(args);                                                        \
  }                                                                                            \
  SIMT_KERNEL(matmul_tile64_##family##_##type, MatmulArgs, kMatmulThreads, 2) {                \
    MatmulTileBlock<P, kType, SmallTile<P, kType>()>(args);                                    \
  }                                                                                            \
  SIMT_KERNEL(matmul_tile128_##family##_##type, MatmulArgs, kMatmulThreads,                    \
              kType == DType::kBFloat16 ? 2 : 1) {                                             \
    MatmulTileBlock<P, kType, BigTile<P, kType>()>(args);                                      \
  }                                                                                            \
  SIMT_KERNEL(matmul_tile64_ordered_##family##_##type, MatmulArgs, kMatmulThreads, 2) {        \
    MatmulTileBlock<P, kType, Ordered(SmallTile<P, kType>())>(args);                           \
  }                                                                                            \
  SIMT_KERNEL(matmul_tile128_ordered_##family##_##type, MatmulArgs, kMatmulThreads, 1) {       \
    MatmulTileBlock<P, kType, Ordered(BigTile<P, kType>())>(args);                             \
  }                                                                                            \
  SIMT_EARLY_KERNEL(matmul_one_##family##_##type, MatmulArgs, kMatmulThreads,                  \
                    kType == DType::kFloat32 ? 3 : 4) {                                        \
    MatmulOneBlock<kType, P::WAVE>(args);                                                      \
  }
#define MATMUL_FAMILY(family, P)                            \
  MATMUL_KERNELS(family, bfloat16, P, DType::kBFloat16)     \
  MATMUL_KERNELS(family, float16, P, DType::kFloat16)       \
  MATMUL_KERNELS(family, float32, P, DType::kFloat32)
#define MATMUL_ENTRIES(family, type)                                                            \
  SIMT_ENTRY(matmul_few16_##family##_##type), SIMT_ENTRY(matmul_few32_##family##_##type),       \
  SIMT_ENTRY(matmul_tile64_##family##_##type), SIMT_ENTRY(matmul_tile128_##family##_##type),   \
  SIMT_ENTRY(matmul_tile64_ordered_##family##_##type),                                          \
  SIMT_ENTRY(matmul_tile128_ordered_##family##_##type), SIMT_ENTRY(matmul_one_##family##_##type)
#define MATMUL_FAMILY_ENTRIES(family)                                          \
  MATMUL_ENTRIES(family, bfloat16), MATMUL_ENTRIES(family, float16), MATMUL_ENTRIES(family, float32)
// clang-format on

#if defined(TESSERA_SIMT_HOST) || defined(TESSERA_SIMT_CUDA)
MATMUL_FAMILY(mma, kernel::MmaM16N8K16)
#endif
#if defined(TESSERA_SIMT_HOST) || defined(__gfx90a__) || defined(__gfx942__) || defined(__gfx950__)
MATMUL_FAMILY(mfma, kernel::Mfma16x16x16)
#endif
#if defined(TESSERA_SIMT_HOST) || defined(__gfx1200__) || defined(__gfx1201__)
MATMUL_FAMILY(wmma, kernel::Wmma16x16x16)
#endif
#if defined(TESSERA_SIMT_HOST) || defined(__GFX11__)
MATMUL_FAMILY(wmma11, kernel::WmmaReplicated)
#endif
SIMT_KERNEL(matmul_sum_splits, MatmulArgs, kMatmulThreads, 1) { SumSplitsBlock(args); }

SIMT_KERNELS(MATMUL_FAMILY_ENTRIES(mma), MATMUL_FAMILY_ENTRIES(mfma), MATMUL_FAMILY_ENTRIES(wmma),
             MATMUL_FAMILY_ENTRIES(wmma11), SIMT_ENTRY(matmul_sum_splits));

}  // namespace tessera::ops_gpu
