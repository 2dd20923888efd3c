#include "attention/feature_check.h"

#include <algorithm>

namespace tessera {

namespace {

template <typename T>
bool Contains(const std::vector<T>& list, T value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

void CheckDType(const char* what, const std::vector<DType>& list, DType dtype,
                std::vector<std::string>* reasons) {
  if (Contains(list, dtype)) return;
  std::string text = std::string(what) + " of type " + ToString(dtype) + " is not supported (only ";
  for (size_t i = 0; i < list.size(); ++i)
    text += (i > 0 ? ", " : "") + std::string(ToString(list[i]));
  reasons->push_back(text + ")");
}

void CheckHeadSize(const FeatureSet& features, int32_t size, std::vector<std::string>* reasons) {
  if (size < features.min_head_size || size > features.max_head_size) {
    reasons->push_back("head size " + std::to_string(size) + " is not supported (only " +
                       std::to_string(features.min_head_size) + " to " +
                       std::to_string(features.max_head_size) + ")");
  } else if (!features.head_sizes.empty() && !Contains(features.head_sizes, size)) {
    std::string text = "head size " + std::to_string(size) + " is not compiled (only ";
    for (size_t i = 0; i < features.head_sizes.size(); ++i) {
      text += (i > 0 ? ", " : "") + std::to_string(features.head_sizes[i]);
    }
    reasons->push_back(text + ")");
  }
}

}  // namespace

FeatureSet FeatureSet::All() {
  const std::vector<DType> floats = {DType::kFloat32, DType::kFloat16,  DType::kBFloat16,
                                     DType::kE4M3FN,  DType::kE4M3FNUZ, DType::kE5M2};
  FeatureSet all;
  all.query_dtypes = all.cache_dtypes = all.output_dtypes = floats;
  all.cache_dtypes.push_back(DType::kInt8);
  all.max_head_size = 1024;
  all.per_request_causality = all.window = all.chunks = all.soft_cap = all.alibi = all.sinks = true;
  all.query_query_bias = all.prefix_ranges = all.encoder = all.cross = all.fp8_output = true;
  all.scale_modes = {ScaleMode::kNone, ScaleMode::kPerTensor, ScaleMode::kPerHead,
                     ScaleMode::kPerTokenHead};
  return all;
}

std::vector<std::string> RefusalReasons(const FeatureSet& features, const AttentionSpec& spec,
                                        int32_t block_size) {
  std::vector<std::string> reasons;
  const auto refuse = [&](bool wanted, const char* reason) {
    if (wanted) reasons.emplace_back(reason);
  };
  CheckDType("a query", features.query_dtypes, spec.query_dtype, &reasons);
  CheckDType("a KV cache", features.cache_dtypes, spec.cache_dtype, &reasons);
  CheckDType("an output", features.output_dtypes, spec.output_dtype, &reasons);
  CheckHeadSize(features, spec.head_size, &reasons);
  if (spec.value_size() != spec.head_size) {
    CheckHeadSize(features, spec.value_size(), &reasons);
    refuse(!features.differing_value_size,
           "values of another head size than keys are not supported");
  }
  refuse(block_size <= 0, "the block size must be positive");
  refuse(spec.causality == Causality::kFull && !features.full_attention,
         "attention that is not causal is not supported");
  refuse(spec.causality == Causality::kPerRequest && !features.per_request_causality,
         "causality by request is not supported");
  refuse((spec.window_left >= 0 || spec.window_right >= 0) && !features.window,
         "a sliding window is not supported");
  refuse(spec.soft_cap > 0.0f && !features.soft_cap, "a soft cap is not supported");
  const bool encoder =
      spec.type == AttentionType::kEncoder || spec.type == AttentionType::kEncoderOnly;
  refuse(encoder && !features.encoder,
         "encoder attention (keys outside the cache) is not supported");
  refuse(spec.type == AttentionType::kCross && !features.cross, "cross attention is not supported");
  refuse(spec.chunk_size > 0 && !features.chunks, "chunked-local attention is not supported");
  refuse(spec.alibi != Alibi::kNone && !features.alibi, "ALiBi is not supported");
  refuse(spec.sinks && !features.sinks, "attention sinks are not supported");
  refuse(spec.query_query_bias && !features.query_query_bias,
         "a query-query bias is not supported");
  refuse(spec.prefix_ranges && !features.prefix_ranges,
         "bidirectional prefix ranges are not supported");
  refuse(!Contains(features.scale_modes, spec.kv_scales),
         "scales of a quantised cache are not supported");
  refuse(spec.fp8_output_scale && !features.fp8_output,
         "fused output quantisation is not supported");
  return reasons;
}

}  // namespace tessera
