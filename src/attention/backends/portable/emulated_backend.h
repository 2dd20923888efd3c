// The portable kernel's GPU instances on the lock-step emulator, as a backend: so that every
// conformance test reaches the very source that GPUs run. For tests; not in the registry.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tessera/backend.h"

namespace tessera {

// "mma_m16n8k16", "mfma_32x32x8", "mfma_16x16x16", "wmma_16x16x16".
std::vector<std::string> EmulatedPolicies();

// `seed` permutes the order in which emulated threads run (0: in order).
std::unique_ptr<Backend> CreateEmulatedBackend(const BackendContext& context,
                                               const std::string& policy, unsigned seed);

}  // namespace tessera
