// What the GPU instances of the kernel compute, and which of them takes a layer.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "attention/feature_check.h"
#include "attention/kernel/gpu/simt_instances.h"
#include "attention/planned_work.h"
#include "tessera/attention_spec.h"

namespace tessera::kernel::lanes {

// Whether the instance computes what SimtRefusalReasons() lets pass.
inline bool Takes(const SimtInstance& instance, const AttentionSpec& spec) {
  if (instance.cache != spec.cache_dtype) return false;
  if (!instance.general) {
    return instance.logits == LogitsOf(spec) && spec.query_dtype == DType::kBFloat16 &&
           (spec.output_dtype == DType::kBFloat16 || spec.output_dtype == DType::kFloat32) &&
           instance.head_size == spec.head_size && instance.head_size == spec.value_size();
  }
  return (instance.logits == Logits::kBiased || instance.logits == LogitsOf(spec)) &&
         instance.head_size >= std::max(spec.head_size, spec.value_size());
}

inline std::vector<std::string> SimtRefusalReasons(const AttentionSpec& spec, int32_t block_size) {
  static const FeatureSet features = [] {
    FeatureSet all = FeatureSet::All();
    std::erase(all.query_dtypes, DType::kFloat32);
    std::erase(all.cache_dtypes, DType::kFloat32);
    all.max_head_size = 256;
    return all;
  }();
  std::vector<std::string> reasons = RefusalReasons(features, spec, block_size);
  // A matrix instruction's operands are of one type, and 8-bit caches become bfloat16.
  const bool half_cache = spec.cache_dtype == DType::kFloat16;
  if (spec.query_dtype == (half_cache ? DType::kBFloat16 : DType::kFloat16)) {
    reasons.push_back(std::string("a query of type ") + ToString(spec.query_dtype) +
                      " with a KV cache of type " + ToString(spec.cache_dtype) +
                      " is not supported (only " + (half_cache ? "float16" : "bfloat16") +
                      " and 8-bit queries)");
  }
  return reasons;
}

}  // namespace tessera::kernel::lanes
