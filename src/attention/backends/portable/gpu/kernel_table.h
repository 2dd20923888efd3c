// The compiled instances of the attention kernel by machine, with what launches need to know:
// worked out on the host from the kernels' own types.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attention/kernel/gpu/simt_instances.h"

namespace tessera {

struct InstanceKernel {
  std::string name;  // "mma_few_plain_128_scaled"
  int32_t rows = 0;  // that an item has at most
  int32_t wave = 0;
  int32_t threads = 0;
  int32_t blocks = 0;  // that a multiprocessor is to hold
  int64_t shared_bytes = 0;
};

struct Instance {
  std::string module;  // the source file: "attention_plain_128"
  kernel::lanes::SimtInstance instance;
  InstanceKernel few;   // rows of decoded tokens
  InstanceKernel many;  // of prompts
};

// Those that suit a layer best first. `policy`: as GpuDevice::matrix_policy().
std::vector<Instance> MakeInstances(kernel::lanes::Machine machine, const std::string& policy);

}  // namespace tessera
