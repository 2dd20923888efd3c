// The kernel without the barrier after the staging of keys and values; deliberately wrong.
#define TESSERA_DROP_STAGING_BARRIER 1
#include "attention/kernel/gpu/block_shapes.h"
#include "attention/kernel/gpu/tiles_simt.h"
#include "attention/testing/gfx942_kernels.h"
#include "device/gpu/simt.h"

namespace tessera::testing {

namespace lanes = kernel::lanes;

SIMT_KERNEL(many_rows, AttentionArgs, kAttentionThreads, 1) {
  using Tiles = lanes::SimtTiles<kernel::Mfma32x32x8, DType::kBFloat16, 128,
                                 lanes::AmdManyRows(128, 64), false>;
  lanes::RunBlock<Tiles, kernel::Logits::kScaled>(args.args, args.items);
}

SIMT_KERNELS(SIMT_ENTRY(many_rows));

}  // namespace tessera::testing
