// One backend for requests with several new tokens, another for those with one.
#pragma once

#include <memory>

#include "tessera/backend.h"

namespace tessera {

// Both get the whole batch and share the cache; the plan of each computes the rows of its phase
// (PlanCapacity::phases). Without batch invariance: how a prompt is divided into steps decides
// which of the two computes its last row.
std::unique_ptr<Backend> CreatePhaseSplit(std::unique_ptr<Backend> prefill,
                                          std::unique_ptr<Backend> decode);

}  // namespace tessera
