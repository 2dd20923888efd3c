#include "cli/backend_explain.h"

#include <fmt/format.h>

#include <utility>

#include "attention/backend_choice.h"
#include "engine/layer_groups.h"

namespace tessera {
namespace {

// "0", "0 to 5", "0, 2, 4"
std::string LayerList(const std::vector<size_t>& layers) {
  if (layers.size() > 2 && layers.back() - layers.front() + 1 == layers.size()) {
    return fmt::format("{} to {}", layers.front(), layers.back());
  }
  std::string text;
  for (const size_t layer : layers) text += (text.empty() ? "" : ", ") + std::to_string(layer);
  return text;
}

const std::string& ChosenFor(const Selection& selection, bool decode) {
  const bool apart = !selection.decode_candidates.empty();
  return (decode && apart ? selection.decode_candidates : selection.candidates).front().name;
}

std::string Verdict(const Selection& selection, const std::string& name) {
  const bool prefill = ChosenFor(selection, false) == name;
  const bool decode = ChosenFor(selection, true) == name;
  if (prefill && decode) return "chosen";
  if (prefill) return "chosen for prefill";
  return decode ? "chosen for decode" : "";
}

}  // namespace

Result<std::vector<LayerChoice>> ChooseForLayers(const std::vector<AttentionSpec>& layers,
                                                 SelectionRequest request,
                                                 const BackendContext& context) {
  const LayerGroups groups = GroupLayers(layers);
  std::vector<LayerChoice> choices;
  for (size_t group = 0; group < groups.specs.size(); ++group) {
    request.spec = groups.specs[group];
    TESSERA_ASSIGN_OR_RETURN(Selection selection, SelectBackend(request, context));
    LayerChoice choice{{}, request.spec, std::move(selection)};
    for (size_t layer = 0; layer < layers.size(); ++layer) {
      if (groups.group_of_layer[layer] == group) choice.layers.push_back(layer);
    }
    choices.push_back(std::move(choice));
  }
  return choices;
}

std::string ExplainAsText(const std::vector<LayerChoice>& choices) {
  std::string text;
  for (const LayerChoice& choice : choices) {
    text += fmt::format("{}{} {}, {} attention: {}\n", text.empty() ? "" : "\n",
                        choice.layers.size() == 1 ? "layer" : "layers", LayerList(choice.layers),
                        ToString(KindOf(choice.spec)), ToString(choice.spec));
    text += fmt::format("  {:<12} {:>15} {:>14}\n", "predicted", "prefill ns/key", "decode ns/key");
    for (const Candidate& candidate : choice.selection.candidates) {
      const Support& support = candidate.support;
      if (support.ok()) {
        const std::string verdict = Verdict(choice.selection, candidate.name);
        text += fmt::format("  {:<12} {:>15.3f} {:>14.3f}{}\n", candidate.name,
                            support.prefill_ns_per_key, support.decode_ns_per_key,
                            verdict.empty() ? "" : "  " + verdict);
        continue;
      }
      for (size_t i = 0; i < support.reasons.size(); ++i) {
        text += fmt::format("  {:<12} no: {}\n", i == 0 ? candidate.name : "", support.reasons[i]);
      }
    }
  }
  if (!choices.empty()) {
    for (const std::string& warning : choices.front().selection.warnings) {
      text += "\nwarning: " + warning + "\n";
    }
  }
  return text;
}

nlohmann::ordered_json ExplainAsJson(const std::vector<LayerChoice>& choices) {
  auto list = nlohmann::ordered_json::array();
  for (const LayerChoice& choice : choices) {
    auto candidates = nlohmann::ordered_json::array();
    for (const Candidate& candidate : choice.selection.candidates) {
      candidates.push_back({{"name", candidate.name},
                            {"usable", candidate.support.ok()},
                            {"prefill_ns_per_key", candidate.support.prefill_ns_per_key},
                            {"decode_ns_per_key", candidate.support.decode_ns_per_key},
                            {"reasons", candidate.support.reasons}});
    }
    list.push_back({{"layers", choice.layers},
                    {"kind", ToString(KindOf(choice.spec))},
                    {"spec", ToString(choice.spec)},
                    {"prefill", ChosenFor(choice.selection, false)},
                    {"decode", ChosenFor(choice.selection, true)},
                    {"candidates", candidates},
                    {"warnings", choice.selection.warnings}});
  }
  return list;
}

}  // namespace tessera
