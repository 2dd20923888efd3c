// The compiled instances of the attention kernel for CPUs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "attention/kernel/kernel_args.h"
#include "attention/kernel/logits.h"
#include "tessera/dtype.h"
#include "tessera/result.h"

namespace tessera {

struct CpuKernel {
  std::string
      policy;  // "scalar", or Highway's name of an instruction set in lower case: "avx3" is AVX-512
  DType cache_dtype = DType::kFloat32;
  kernel::Logits logits = kernel::Logits::kScaled;

  // Runs one item. `memory` holds kernel::WideMemory::Bytes(...), one piece a thread.
  void (*run)(const kernel::KernelArgs& args, const kernel::WorkItem& item, void* memory) = nullptr;
};

// "simd avx3, cache bfloat16, soft cap"
std::string ToString(const CpuKernel& kernel);

// Every instance that this CPU can run, the best policy first, "scalar" last.
const std::vector<CpuKernel>& CpuKernels();

// The distinct policies of CpuKernels(), in that order.
std::vector<std::string> CpuPolicies();

}  // namespace tessera
