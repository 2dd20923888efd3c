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
  if (spec.window_left >= 0) text += ", window " + std::to_string(int64_t{spec.window_left} + 1);
  if (spec.soft_cap > 0.0f) text += ", soft cap " + std::to_string(spec.soft_cap);
  if (spec.alibi != Alibi::kNone) text += ", ALiBi";
  if (spec.sinks) text += ", sinks";
  return text;
}

}  // namespace tessera
