// The portable backend: the one attention kernel on whatever device there is (vLLM's triton_attn in
// role).
#pragma once

#include <memory>
#include <string>

#include "tessera/backend.h"
#include "tessera/result.h"

namespace tessera {

enum class PortableMode : uint8_t {
  kUnified,  // one kernel call for all rows of a step
  // One for the requests with several rows, whose keys are never split, and one with split key
  // ranges for those with one: the division of vLLM's rocm_attn.
  kSplit,
};

struct PortableOptions {
  // One of CpuPolicies(): "avx3", "avx2", "sse4", "neon", "scalar". Empty: the best.
  std::string cpu_policy;
  PortableMode mode = PortableMode::kUnified;
};

// For tests and for looking for errors: with a policy of one's choice. Otherwise the registry
// creates it.
Result<std::unique_ptr<Backend>> CreatePortableBackend(const BackendContext& context,
                                                       const PortableOptions& options);

}  // namespace tessera
