// Layers that are alike: they share a backend and, in each step, a plan.
#pragma once

#include <cstddef>
#include <vector>

#include "tessera/attention_spec.h"

namespace tessera {

struct LayerGroups {
  std::vector<AttentionSpec> specs;    // the distinct ones, in order of their first layer
  std::vector<size_t> group_of_layer;  // [num_layers], index into specs
};

LayerGroups GroupLayers(const std::vector<AttentionSpec>& layers);

}  // namespace tessera
