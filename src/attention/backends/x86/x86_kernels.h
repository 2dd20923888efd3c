// The compiled kernels of the x86 backend: instruction families, and what each needs of the
// machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attention/kernel/kernel_args.h"
#include "tessera/device.h"
#include "tessera/dtype.h"

namespace tessera::x86 {

enum class Family : uint8_t {
  kAvx512,      // float32 arithmetic
  kAvx512Bf16,  // caches whose elements bfloat16 holds by VDPBF16PS
  kAmx,         // the same by AMX tiles
};

inline constexpr Family kFamilies[] = {Family::kAvx512, Family::kAvx512Bf16, Family::kAmx};

// "avx512", "avx512_bf16", "amx".
const char* ToString(Family family);

// Returns why this CPU, which runs the process, cannot run the family; empty: it can. Asks the
// system for the use of AMX's registers if the family needs them.
std::vector<std::string> MissingRequirements(Family family, const DeviceInfo& cpu);

// Runs one item. `memory` is aligned to 64 bytes.
using RunItem = void (*)(const kernel::KernelArgs& args, const kernel::WorkItem& item,
                         float* memory);

// The kernels for one cache type.
struct Kernels {
  RunItem few_rows = nullptr;   // up to few_rows_limit rows; null: nothing is compiled for this CPU
  RunItem many_rows = nullptr;  // up to max_rows rows
  int32_t few_rows_limit = 0;
  int32_t max_rows = 0;
  // Floats of memory that both need for heads of these sizes.
  int64_t (*memory)(int32_t head_size, int32_t value_size) = nullptr;
};

// For a cache of any type. The matrix families compute those of float32 and float16 as kAvx512
// does.
Kernels KernelsFor(Family family, DType cache_dtype);

}  // namespace tessera::x86
