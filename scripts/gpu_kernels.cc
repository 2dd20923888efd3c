// What scripts/check_gpu_builds.sh compiles: the attention kernel's instances of one machine, for
// heads of 128 and, general ones with an 8-bit cache, of 128 and 256.
#include "attention/kernel/gpu/block_shapes.h"
#include "attention/kernel/gpu/merge_simt.h"
#include "attention/kernel/gpu/tiles_simt.h"

using tessera::DType;
using tessera::kernel::KernelArgs;
using tessera::kernel::Logits;
using tessera::kernel::MergeItem;
using tessera::kernel::WorkItem;
namespace lanes = tessera::kernel::lanes;

#if defined(__CUDACC__) && !defined(__HIP__)
#define KERNEL(threads, blocks) __launch_bounds__(threads, blocks)
using Few = tessera::kernel::MmaM16N8K16;
using Many = tessera::kernel::MmaM16N8K16;
constexpr auto FewShape(int head_size, bool bytes) {
  return lanes::NvidiaFewRows(head_size, bytes).shape;
}
constexpr auto ManyShape(int head_size) { return lanes::NvidiaManyRows(head_size).shape; }
#else
#define KERNEL(threads, blocks) __attribute__((amdgpu_flat_work_group_size(1, threads)))
#if defined(__gfx1200__)
using Few = tessera::kernel::Wmma16x16x16;
using Many = tessera::kernel::Wmma16x16x16;
#else
using Few = tessera::kernel::Mfma16x16x16;
using Many = tessera::kernel::Mfma32x32x8;
#endif
constexpr auto FewShape(int head_size, bool) { return lanes::AmdFewRows(head_size); }
constexpr auto ManyShape(int head_size) { return lanes::AmdManyRows(head_size, Many::WAVE); }
#endif

template <DType kCache, int kHeadSize, bool kGeneral>
using FewRows = lanes::SimtTiles<Few, kCache, kHeadSize,
                                 FewShape(kHeadSize, kCache != DType::kBFloat16), kGeneral>;
template <DType kCache, int kHeadSize, bool kGeneral>
using ManyRows = lanes::SimtTiles<Many, kCache, kHeadSize, ManyShape(kHeadSize), kGeneral>;

#define ATTENTION_KERNEL(name, blocks, ...)                             \
  extern "C" SIMT_GLOBAL void KERNEL((__VA_ARGS__::kThreads), (blocks)) \
      name(const KernelArgs args, const WorkItem* items) {              \
    lanes::RunBlock<__VA_ARGS__, Logits::kScaled>(args, items);         \
  }

ATTENTION_KERNEL(few_rows, lanes::NvidiaFewRows(128, false).blocks,
                 FewRows<DType::kBFloat16, 128, false>)
ATTENTION_KERNEL(many_rows, lanes::NvidiaManyRows(128).blocks,
                 ManyRows<DType::kBFloat16, 128, false>)
ATTENTION_KERNEL(few_rows_fp8, lanes::NvidiaFewRows(128, true).blocks,
                 FewRows<DType::kE4M3FN, 128, true>)
ATTENTION_KERNEL(many_rows_fp8, lanes::NvidiaManyRows(128).blocks,
                 ManyRows<DType::kE4M3FN, 128, true>)
ATTENTION_KERNEL(few_rows_fp8_256, lanes::NvidiaFewRows(256, true).blocks,
                 FewRows<DType::kE4M3FN, 256, true>)
ATTENTION_KERNEL(many_rows_fp8_256, lanes::NvidiaManyRows(256).blocks,
                 ManyRows<DType::kE4M3FN, 256, true>)

extern "C" SIMT_GLOBAL void KERNEL(128, 1)
    merge(const KernelArgs args, const MergeItem* merges, int blocks_per_item) {
  lanes::MergeBlock(args, merges, blocks_per_item, 128);
}
