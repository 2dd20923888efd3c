// The operations on a CPU: Highway kernels, chosen at run time for the best instructions there are.
#pragma once

#include <memory>

#include "ops/ops.h"
#include "tessera/thread_pool.h"

namespace tessera {

struct CpuOpsOptions {
  // Whether MatmulMode::kBFloat16 may use the CPU's bfloat16 instructions where they are the faster
  // ones. Without them it computes as kFloat32 does.
  bool native_bfloat16 = true;
};

// `threads` outlives the operations. Every row's result depends on that row alone, whatever its
// neighbours are and however many: see ops/gemm.h.
std::unique_ptr<Ops> CreateCpuOps(ThreadPool* threads);
std::unique_ptr<Ops> CreateCpuOps(ThreadPool* threads, const CpuOpsOptions& options);

}  // namespace tessera
