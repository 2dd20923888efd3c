// A captured step of decoding, replayed with other contents: what every GPU backend must get right.
#pragma once

#include <string>

#include "tessera/backend.h"

namespace tessera::testing {

// Captures the writing of new keys and the attention of one layer in a graph, and replays it for
// steps with other lengths, fewer requests and other block tables; with `shared_prefix` also for
// requests with a common prefix, of several lengths, and without one. Returns what was wrong, in
// words; empty: nothing. The expectation is the reference backend's, on a CPU.
std::string CheckGraphReplays(Backend* backend, Device* device, const AttentionSpec& spec,
                              bool shared_prefix = false);

}  // namespace tessera::testing
