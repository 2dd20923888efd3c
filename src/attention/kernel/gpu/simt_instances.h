// Which instances of the kernel a GPU policy has: the one list, for every machine.
//
// Plain bfloat16 in the usual head sizes has instances of its own. General ones take the rest:
// 8-bit and float16 caches, 8-bit queries, every type of output, heads of any size up to theirs,
// values of another size than keys; kBiased serves as every kind of logits.
#pragma once

#include <algorithm>

#include "attention/feature_check.h"
#include "attention/kernel/logits.h"
#include "attention/planned_work.h"
#include "tessera/attention_spec.h"

namespace tessera::kernel::lanes {

struct SimtInstance {
  DType cache = DType::kBFloat16;
  int head_size = 0;
  bool general = false;
  Logits logits = Logits::kScaled;
};

// Calls f.operator()<instance>() for each, those that suit a spec best first.
template <class F>
void ForEachSimtInstance(const F& f) {
  const auto plain = [&]<int kHeadSize>() {
    f.template operator()<SimtInstance{.head_size = kHeadSize, .logits = Logits::kScaled}>();
    f.template operator()<SimtInstance{.head_size = kHeadSize, .logits = Logits::kSoftCapped}>();
    f.template operator()<SimtInstance{.head_size = kHeadSize, .logits = Logits::kBiased}>();
  };
  plain.template operator()<32>();
  plain.template operator()<64>();
  plain.template operator()<96>();
  plain.template operator()<128>();

  const auto general = [&]<DType kCache, int kHeadSize>() {
    f.template operator()<SimtInstance{kCache, kHeadSize, true, Logits::kScaled}>();
    f.template operator()<SimtInstance{kCache, kHeadSize, true, Logits::kBiased}>();
  };
  const auto sizes = [&]<DType kCache>() {
    general.template operator()<kCache, 64>();
    general.template operator()<kCache, 128>();
    general.template operator()<kCache, 256>();
  };
  sizes.template operator()<DType::kBFloat16>();
  sizes.template operator()<DType::kFloat16>();
  sizes.template operator()<DType::kE4M3FN>();
  sizes.template operator()<DType::kE4M3FNUZ>();
  sizes.template operator()<DType::kE5M2>();
  sizes.template operator()<DType::kInt8>();
}

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
  static const FeatureSet features{
      .query_dtypes = {DType::kFloat16, DType::kBFloat16, DType::kE4M3FN, DType::kE4M3FNUZ,
                       DType::kE5M2},
      .cache_dtypes = {DType::kFloat16, DType::kBFloat16, DType::kE4M3FN, DType::kE4M3FNUZ,
                       DType::kE5M2, DType::kInt8},
      .output_dtypes = {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kE4M3FN,
                        DType::kE4M3FNUZ, DType::kE5M2},
      .max_head_size = 256,
      .per_request_causality = true,
      .window = true,
      .chunks = true,
      .soft_cap = true,
      .alibi = true,
      .sinks = true,
      .query_query_bias = true,
      .prefix_ranges = true,
      .encoder = true,
      .cross = true,
      .scale_modes = {ScaleMode::kNone, ScaleMode::kPerTensor, ScaleMode::kPerHead,
                      ScaleMode::kPerTokenHead},
      .fp8_output = true,
  };
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
