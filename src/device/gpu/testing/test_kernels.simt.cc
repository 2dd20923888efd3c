#include "device/gpu/testing/test_kernels.h"

#include "device/gpu/simt.h"

namespace tessera::testing {

struct ReverseMemory {
  int32_t values[kReverseThreads];
};

SIMT_KERNEL(add, AddArgs, 256, 1) {
  const int64_t i = int64_t{simt::Block()} * 64 + simt::Thread();
  if (i < args.count) args.values[i] += args.addend;
}

SIMT_KERNEL(reverse, ReverseArgs, kReverseThreads, 1) {
  ReverseMemory* const memory = simt::SharedMemory<ReverseMemory>();
  int32_t* const values = args.values + int64_t{simt::Block()} * kReverseThreads;
  memory->values[simt::Thread()] = values[simt::Thread()];
  simt::Sync();
  values[simt::Thread()] = memory->values[kReverseThreads - 1 - simt::Thread()];
}

// Not every thread reaches the barrier: what an emulator refuses.
SIMT_KERNEL(diverge, ReverseArgs, kReverseThreads, 1) {
  if (simt::Thread() == 0 && args.values != nullptr) return;
  simt::Sync();
}

SIMT_KERNELS(SIMT_ENTRY(add), SIMT_ENTRY(reverse), SIMT_ENTRY(diverge));

}  // namespace tessera::testing
