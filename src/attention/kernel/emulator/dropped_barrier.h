#pragma once

#include "attention/kernel/kernel_args.h"

namespace tessera::kernel {

// mma_m16n8k16, heads of 64, steps of 32 keys, 2 waves, float32 output; deliberately wrong.
void RunBlockWithoutBarrier(const KernelArgs& args, const WorkItem* items);

}  // namespace tessera::kernel
