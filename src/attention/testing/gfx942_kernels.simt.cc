// A few instances of the attention kernel, to be run as machine code by gfx942_attention_test.cc.
#include "attention/testing/gfx942_kernels.h"

#include "attention/kernel/gpu/block_shapes.h"
#include "attention/kernel/gpu/merge_simt.h"
#include "attention/kernel/gpu/tiles_simt.h"
#include "device/gpu/simt.h"

namespace tessera::testing {

namespace lanes = kernel::lanes;
using kernel::Logits;
using kernel::Mfma16x16x16;
using kernel::Mfma32x32x8;

template <DType kCache, bool kGeneral>
using FewRows = lanes::SimtTiles<Mfma16x16x16, kCache, 128, lanes::AmdFewRows(128), kGeneral>;
template <DType kCache, bool kGeneral>
using ManyRows = lanes::SimtTiles<Mfma32x32x8, kCache, 128, lanes::AmdManyRows(128, 64), kGeneral>;

static_assert(FewRows<DType::kBFloat16, false>::kThreads == kAttentionThreads);
static_assert(ManyRows<DType::kBFloat16, false>::kThreads == kAttentionThreads);
static_assert(FewRows<DType::kBFloat16, false>::kRows == kFewRows);
static_assert(ManyRows<DType::kBFloat16, false>::kRows == kManyRows);

SIMT_KERNEL(few_rows, AttentionArgs, kAttentionThreads, 1) {
  lanes::RunBlock<FewRows<DType::kBFloat16, false>, Logits::kScaled>(args.args, args.items);
}
SIMT_KERNEL(many_rows, AttentionArgs, kAttentionThreads, 1) {
  lanes::RunBlock<ManyRows<DType::kBFloat16, false>, Logits::kScaled>(args.args, args.items);
}
SIMT_KERNEL(few_rows_fp8, AttentionArgs, kAttentionThreads, 1) {
  lanes::RunBlock<FewRows<DType::kE4M3FN, true>, Logits::kScaled>(args.args, args.items);
}
SIMT_KERNEL(many_rows_fp8, AttentionArgs, kAttentionThreads, 1) {
  lanes::RunBlock<ManyRows<DType::kE4M3FN, true>, Logits::kScaled>(args.args, args.items);
}
SIMT_KERNEL(merge, MergeArgs, kMergeThreads, 1) {
  lanes::MergeBlock(args.args, args.merges, kBlocksPerMerge, kMergeThreads);
}

SIMT_KERNELS(SIMT_ENTRY(few_rows), SIMT_ENTRY(many_rows), SIMT_ENTRY(few_rows_fp8),
             SIMT_ENTRY(many_rows_fp8), SIMT_ENTRY(merge));

}  // namespace tessera::testing
