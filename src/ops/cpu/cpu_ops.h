// The operations on a CPU: Highway kernels, chosen at run time for the best instructions there are.
#pragma once

#include <memory>

#include "ops/ops.h"
#include "tessera/device.h"
#include "tessera/thread_pool.h"

namespace tessera {

struct CpuOpsOptions {
  // Whether MatmulMode::kBFloat16 may use the CPU's bfloat16 instructions if they are the faster
  // ones. Without them it computes as kFloat32 does.
  bool native_bfloat16 = true;
};

// `device` (a CPU), `stream` and `threads` outlive the operations, which compute in the call. Every
// row's result depends on that row alone, whatever its neighbours are and however many: see
// ops/cpu/gemm.h. Calls throw std::bad_alloc if memory for scratch runs out.
std::unique_ptr<Ops> CreateCpuOps(Device* device, Stream* stream, ThreadPool* threads,
                                  const CpuOpsOptions& options = {});

}  // namespace tessera
