#include "engine/layer_groups.h"

#include <algorithm>
#include <tuple>

namespace tessera {
namespace {

auto Fields(const AttentionSpec& s) {
  return std::make_tuple(s.num_heads, s.num_kv_heads, s.head_size, s.head_size_v, s.query_dtype,
                         s.cache_dtype, s.output_dtype, s.scale, s.type, s.causality, s.window_left,
                         s.window_right, s.chunk_size, s.soft_cap, s.alibi, s.sinks,
                         s.query_query_bias, s.prefix_ranges, s.shares_kv, s.kv_scales,
                         s.fp8_output_scale, s.batch_invariant);
}

}  // namespace

LayerGroups GroupLayers(const std::vector<AttentionSpec>& layers) {
  LayerGroups groups;
  for (const AttentionSpec& spec : layers) {
    const auto found =
        std::find_if(groups.specs.begin(), groups.specs.end(),
                     [&](const AttentionSpec& other) { return Fields(other) == Fields(spec); });
    groups.group_of_layer.push_back(static_cast<size_t>(found - groups.specs.begin()));
    if (found == groups.specs.end()) groups.specs.push_back(spec);
  }
  return groups;
}

}  // namespace tessera
