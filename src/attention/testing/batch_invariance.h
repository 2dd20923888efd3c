// Rows that must be the same bits whatever runs beside them: what every GPU backend must get right
// under AttentionSpec::batch_invariant.
#pragma once

#include <string>
#include <vector>

#include "tessera/backend.h"

namespace tessera::testing {

// Layers whose keys are divided in different ways: windows, chunks, sinks, biases, scales.
std::vector<AttentionSpec> InvariantSpecs(int32_t head_size);

// Computes a request whole, in its last chunks down to a single decoded token, alone, among others
// and by a plan for recorded steps, and compares the rows bit by bit. Returns which differ, in
// words; empty: none.
std::string CheckBatchInvariance(Backend* backend, Device* device, const AttentionSpec& spec);

}  // namespace tessera::testing
