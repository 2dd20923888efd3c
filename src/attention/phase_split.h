// One backend for requests with several new tokens, another for those with one.
#pragma once

#include <memory>

#include "tessera/backend.h"

namespace tessera {

// A mixed batch is cut into runs of neighbouring requests of one phase, and each run goes to its
// backend as a batch of its own; both share the cache. Schedulers that put decodes side by side
// cause two runs. Without batch invariance: how a prompt is divided into steps decides which of the
// two computes its last row.
std::unique_ptr<Backend> CreatePhaseSplit(std::unique_ptr<Backend> prefill,
                                          std::unique_ptr<Backend> decode);

}  // namespace tessera
