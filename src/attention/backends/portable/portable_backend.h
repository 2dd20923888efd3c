// The portable backend: the one attention kernel on whatever device there is (vLLM's triton_attn in
// role).
#pragma once

#include <memory>
#include <string>

#include "tessera/backend.h"
#include "tessera/result.h"

namespace tessera {

struct PortableOptions {
  // One of CpuPolicies(): "avx3", "avx2", "sse4", "neon", "scalar". Empty: the best.
  std::string cpu_policy;
};

// For tests and for looking for errors: with a policy of one's choice. Otherwise the registry
// creates it.
Result<std::unique_ptr<Backend>> CreatePortableBackend(const BackendContext& context,
                                                       const PortableOptions& options);

}  // namespace tessera
