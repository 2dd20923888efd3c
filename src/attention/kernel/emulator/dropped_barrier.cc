// The kernel's GPU instance without the barrier behind the staging of K and V: the emulator's test
// shows that this is noticed.
#define TESSERA_DROP_STAGING_BARRIER 1
#define lanes lanes_without_barrier
#include "attention/kernel/gpu/tiles_simt.h"
#undef lanes

#include "attention/kernel/emulator/dropped_barrier.h"

namespace tessera::kernel {

void RunBlockWithoutBarrier(const KernelArgs& args, const WorkItem* items) {
  constexpr lanes_without_barrier::BlockShape kShape{.row_waves = 2, .stages = 2};
  using Tiles = lanes_without_barrier::SimtTiles<MmaM16N8K16, DType::kBFloat16, 64, kShape, false>;
  lanes_without_barrier::RunBlock<Tiles, Logits::kScaled>(args, items);
}

}  // namespace tessera::kernel
