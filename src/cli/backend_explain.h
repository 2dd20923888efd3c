// Who computes a model's layers, and why nobody else does.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tessera/registry.h"
#include "tessera/result.h"

namespace tessera {

// Layers that are alike, and the choice for them.
struct LayerChoice {
  std::vector<size_t> layers;  // ascending
  AttentionSpec spec;
  Selection selection;
};

// One choice for each kind of layer in `layers`, in order of their first. `request` says what is
// asked for; its spec is not looked at.
Result<std::vector<LayerChoice>> ChooseForLayers(const std::vector<AttentionSpec>& layers,
                                                 SelectionRequest request,
                                                 const BackendContext& context);

// For people: for each kind of layer all candidates, with predicted costs or all reasons.
std::string ExplainAsText(const std::vector<LayerChoice>& choices);

nlohmann::ordered_json ExplainAsJson(const std::vector<LayerChoice>& choices);

}  // namespace tessera
