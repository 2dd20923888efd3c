// The instances of the vector policy, in files by their caches' elements so that none compiles for
// a minute.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "attention/backends/portable/cpu_kernels.h"

namespace tessera {

struct SimdKernel {
  int64_t target;  // Highway's number of the instruction set: lower is better
  CpuKernel kernel;
};

// Those that this CPU can run, of caches whose elements have 16 bits and more, and of the others.
std::vector<SimdKernel> WideSimdKernels();
std::vector<SimdKernel> ByteSimdKernels();

// Calls the functions of a dispatch table and returns what those of this CPU's targets append.
std::vector<SimdKernel> CollectSimdKernels(
    std::span<void (*const)(std::vector<SimdKernel>*)> dispatch_table);

}  // namespace tessera
