// What the kernels of gfx942_kernels.simt.cc take.
#pragma once

#include <cstdint>

#include "attention/kernel/kernel_args.h"

namespace tessera::testing {

struct AttentionArgs {
  kernel::KernelArgs args;
  const kernel::WorkItem* items;  // one for each block
};
struct MergeArgs {
  kernel::KernelArgs args;
  const kernel::MergeItem* merges;  // kBlocksPerMerge blocks for each
};

constexpr int32_t kAttentionThreads = 256;
constexpr int32_t kFewRows = 16;
constexpr int32_t kManyRows = 128;
constexpr int32_t kMergeThreads = 128;
constexpr int32_t kBlocksPerMerge = 2;

}  // namespace tessera::testing
