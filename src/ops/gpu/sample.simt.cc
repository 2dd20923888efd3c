// Kernels that choose tokens. The suffix is the wave: 32 or 64 threads.
#include "ops/gpu/kernels/sample.h"

#include "device/gpu/simt.h"
#include "ops/gpu/kernels/sample_choose.h"
#include "ops/gpu/kernels/sample_logprobs.h"

namespace tessera::ops_gpu {

// clang-format off
#define SAMPLE_KERNELS(wave)                                                                      \
  SIMT_KERNEL(sample_stats_##wave, SampleArgs, kStatsThreads, 1) {                                \
    SampleStatsBlock<wave>(args, false);                                                          \
  }                                                                                               \
  SIMT_KERNEL(sample_original_stats_##wave, SampleArgs, kStatsThreads, 1) {                       \
    SampleStatsBlock<wave>(args, true);                                                           \
  }                                                                                               \
  SIMT_KERNEL(sample_choose_##wave, SampleArgs, kChooseThreads, 1) {                              \
    SampleChooseBlock<wave>(args);                                                                \
  }                                                                                               \
  SIMT_KERNEL(sample_logprobs_##wave, SampleArgs, kChooseThreads, 1) {                            \
    SampleLogprobsBlock<wave>(args);                                                              \
  }
#define SAMPLE_ENTRIES(wave)                                                  \
  SIMT_ENTRY(sample_stats_##wave), SIMT_ENTRY(sample_original_stats_##wave),  \
  SIMT_ENTRY(sample_choose_##wave), SIMT_ENTRY(sample_logprobs_##wave)
// clang-format on

#if !defined(__gfx90a__) && !defined(__gfx942__) && !defined(__gfx950__)
SAMPLE_KERNELS(32)
#endif
#if defined(TESSERA_SIMT_HOST) || defined(__gfx90a__) || defined(__gfx942__) || defined(__gfx950__)
SAMPLE_KERNELS(64)
#endif
SIMT_KERNEL(sample_edit, SampleArgs, kEditThreads, 1) { SampleEditBlock(args); }
SIMT_KERNEL(sample_restore, SampleArgs, kEditThreads, 1) { SampleRestoreBlock(args); }

SIMT_KERNELS(SAMPLE_ENTRIES(32), SAMPLE_ENTRIES(64), SIMT_ENTRY(sample_edit),
             SIMT_ENTRY(sample_restore));

}  // namespace tessera::ops_gpu
