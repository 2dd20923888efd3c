// Attention problems that ask for each feature of the spec, alone and beside each other one.
#pragma once

#include <vector>

#include "attention/testing/attention_case.h"

namespace tessera::testing {

// bfloat16 throughout, causal.
AttentionSpec Spec(int32_t heads, int32_t kv_heads, int32_t head_size);

// Every feature alone.
std::vector<CaseOptions> FeatureCases();

// And every two that do not exclude each other.
std::vector<CaseOptions> FeaturePairCases();

}  // namespace tessera::testing
