// What scripts/check_gpu_builds.sh compiles: the attention kernel's instances of one machine, for
// heads of 128.
#include "attention/kernel/block_shapes.h"
#include "attention/kernel/merge_simt.h"
#include "attention/kernel/tiles_simt.h"

using tessera::kernel::KernelArgs;
using tessera::kernel::Logits;
using tessera::kernel::MergeItem;
using tessera::kernel::WorkItem;
namespace lanes = tessera::kernel::lanes;

#if defined(__CUDACC__) && !defined(__HIP__)
#define KERNEL(threads, blocks) __launch_bounds__(threads, blocks)
using FewRows = lanes::SimtTiles<tessera::kernel::MmaM16N8K16, 128, lanes::kNvidiaFewRows>;
using ManyRows = lanes::SimtTiles<tessera::kernel::MmaM16N8K16, 128, lanes::kNvidiaManyRows>;
#else
#define KERNEL(threads, blocks) __attribute__((amdgpu_flat_work_group_size(1, threads)))
#if defined(__gfx1200__)
using Few = tessera::kernel::Wmma16x16x16;
using Many = tessera::kernel::Wmma16x16x16;
#else
using Few = tessera::kernel::Mfma16x16x16;
using Many = tessera::kernel::Mfma32x32x8;
#endif
using FewRows = lanes::SimtTiles<Few, 128, lanes::kAmdFewRows>;
using ManyRows = lanes::SimtTiles<Many, 128, lanes::kAmdManyRows>;
#endif

extern "C" SIMT_GLOBAL void KERNEL(FewRows::kThreads, lanes::kNvidiaFewRowsBlocks)
    few_rows(const KernelArgs args, const WorkItem* items) {
  lanes::RunBlock<FewRows, Logits::kScaled>(args, items);
}

extern "C" SIMT_GLOBAL void KERNEL(ManyRows::kThreads, lanes::kNvidiaManyRowsBlocks)
    many_rows(const KernelArgs args, const WorkItem* items) {
  lanes::RunBlock<ManyRows, Logits::kScaled>(args, items);
}

extern "C" SIMT_GLOBAL void KERNEL(128, 1)
    merge(const KernelArgs args, const MergeItem* merges, int blocks_per_item) {
  lanes::MergeBlock(args, merges, blocks_per_item, 128);
}
