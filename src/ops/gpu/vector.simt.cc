// Kernels of the operations that go row by row. The suffix is the wave: 32 or 64 threads.
#include "device/gpu/simt.h"
#include "ops/gpu/kernels/norm.h"
#include "ops/gpu/kernels/qk_norm_rope.h"
#include "ops/gpu/kernels/rows.h"

namespace tessera::ops_gpu {

#if !defined(__gfx90a__) && !defined(__gfx942__) && !defined(__gfx950__)
SIMT_EARLY_KERNEL(norm_block_32, NormKernelArgs, kNormThreads, 1) { NormBlock<32>(args); }
SIMT_EARLY_KERNEL(norm_wave_32, NormKernelArgs, kNormThreads, 1) { NormWave<32>(args); }
SIMT_EARLY_KERNEL(qk_norm_rope_32, QkNormRopeKernelArgs, kRopeThreads, 1) {
  QkNormRopeBlock<32>(args);
}
#endif
#if defined(TESSERA_SIMT_HOST) || defined(__gfx90a__) || defined(__gfx942__) || defined(__gfx950__)
SIMT_EARLY_KERNEL(norm_block_64, NormKernelArgs, kNormThreads, 1) { NormBlock<64>(args); }
SIMT_EARLY_KERNEL(norm_wave_64, NormKernelArgs, kNormThreads, 1) { NormWave<64>(args); }
SIMT_EARLY_KERNEL(qk_norm_rope_64, QkNormRopeKernelArgs, kRopeThreads, 1) {
  QkNormRopeBlock<64>(args);
}
#endif
SIMT_KERNEL(activate, ActivateKernelArgs, kRowThreads, 1) {
  simt::LetNextBegin();
  ActivateBlock(args);
}
SIMT_KERNEL(gather, GatherKernelArgs, kRowThreads, 1) { GatherBlock(args); }
SIMT_KERNEL(fill_bias, FillBiasKernelArgs, kRowThreads, 1) { FillBiasBlock(args); }
SIMT_KERNEL(resolve_ids, ResolveIdsKernelArgs, kRowThreads, 1) { ResolveIdsBlock(args); }

SIMT_KERNELS(SIMT_ENTRY(norm_block_32), SIMT_ENTRY(norm_wave_32), SIMT_ENTRY(qk_norm_rope_32),
             SIMT_ENTRY(norm_block_64), SIMT_ENTRY(norm_wave_64), SIMT_ENTRY(qk_norm_rope_64),
             SIMT_ENTRY(activate), SIMT_ENTRY(gather), SIMT_ENTRY(fill_bias),
             SIMT_ENTRY(resolve_ids));

}  // namespace tessera::ops_gpu
