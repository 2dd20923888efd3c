#include "tessera/attention_spec.h"

#include <cmath>

namespace tessera {

float AttentionSpec::softmax_scale() const {
  return scale != 0.0f ? scale : 1.0f / std::sqrt(static_cast<float>(head_size));
}

Status Validate(const AttentionSpec& spec) {
  const auto heads = std::to_string(spec.num_heads) + " query heads over " +
                     std::to_string(spec.num_kv_heads) + " KV heads";
  if (spec.num_heads <= 0 || spec.num_kv_heads <= 0 || spec.num_heads % spec.num_kv_heads != 0) {
    return InvalidArgument(heads +
                           ": both must be positive, and the first a multiple of the second");
  }
  if (spec.head_size <= 0 || spec.head_size_v < 0) {
    return InvalidArgument("head size " + std::to_string(spec.head_size) + " / " +
                           std::to_string(spec.head_size_v) + " must be positive");
  }
  if (!std::isfinite(spec.scale)) return InvalidArgument("the softmax scale is not finite");
  if (!std::isfinite(spec.soft_cap) || spec.soft_cap < 0.0f) {
    return InvalidArgument("the soft cap must be 0 (off) or positive");
  }
  if (spec.window_left < -1 || spec.window_right < -1 || spec.chunk_size < 0) {
    return InvalidArgument("windows count keys (-1: no limit) and chunks tokens (0: off)");
  }
  const bool paged = spec.type == AttentionType::kDecoder || spec.type == AttentionType::kCross;
  if (spec.type == AttentionType::kCross &&
      (spec.causality != Causality::kFull || spec.window_left >= 0 || spec.window_right >= 0 ||
       spec.chunk_size > 0 || spec.alibi != Alibi::kNone || spec.query_query_bias ||
       spec.prefix_ranges)) {
    return InvalidArgument(
        "cross attention's queries have no position among the keys: it must be full, without "
        "windows, chunks, ALiBi, prefix ranges and a query-query bias");
  }
  const bool narrow_cache = SizeOf(spec.cache_dtype) == 1;
  if (spec.kv_scales != ScaleMode::kNone && !(narrow_cache && paged)) {
    return InvalidArgument(std::string("scales belong to caches of 8 bits, not to ") +
                           ToString(spec.cache_dtype) + (paged ? "" : " without a cache"));
  }
  if (spec.cache_dtype == DType::kInt8 && spec.kv_scales == ScaleMode::kNone) {
    return InvalidArgument("an int8 cache needs scales (kv_scales)");
  }
  if (spec.fp8_output_scale != (SizeOf(spec.output_dtype) == 1)) {
    return InvalidArgument("fp8_output_scale and an fp8 output go together");
  }
  if (spec.output_dtype == DType::kInt8 || spec.query_dtype == DType::kInt8) {
    return InvalidArgument("int8 is a type of caches, not of queries and outputs");
  }
  return {};
}

std::string ToString(const AttentionSpec& spec) {
  std::string text = std::to_string(spec.num_heads) + "/" + std::to_string(spec.num_kv_heads) +
                     " heads of " + std::to_string(spec.head_size);
  if (spec.value_size() != spec.head_size) text += "/" + std::to_string(spec.value_size());
  text += std::string(", ") + ToString(spec.query_dtype) + " (cache " + ToString(spec.cache_dtype) +
          ")";
  text += spec.causality == Causality::kCausal ? ", causal"
          : spec.causality == Causality::kFull ? ", not causal"
                                               : ", causal by request";
  switch (spec.type) {
    case AttentionType::kDecoder:
      break;
    case AttentionType::kEncoder:
      text += ", encoder";
      break;
    case AttentionType::kEncoderOnly:
      text += ", encoder-only";
      break;
    case AttentionType::kCross:
      text += ", cross";
      break;
  }
  if (spec.window_left >= 0) text += ", window " + std::to_string(int64_t{spec.window_left} + 1);
  if (spec.soft_cap > 0.0f) text += ", soft cap " + std::to_string(spec.soft_cap);
  if (spec.window_right >= 0) text += ", window_right " + std::to_string(spec.window_right);
  if (spec.chunk_size > 0) text += ", chunks of " + std::to_string(spec.chunk_size);
  if (spec.alibi != Alibi::kNone) text += spec.alibi == Alibi::kSqrt ? ", ALiBi sqrt" : ", ALiBi";
  if (spec.sinks) text += ", sinks";
  if (spec.query_query_bias) text += ", query-query bias";
  if (spec.prefix_ranges) text += ", prefix ranges";
  if (spec.kv_scales == ScaleMode::kPerTensor) text += ", scale per tensor";
  if (spec.kv_scales == ScaleMode::kPerHead) text += ", scale per head";
  if (spec.kv_scales == ScaleMode::kPerTokenHead) text += ", scale per token and head";
  return text;
}

}  // namespace tessera
