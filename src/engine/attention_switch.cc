#include "engine/attention_switch.h"

#include <utility>

namespace tessera {
namespace {

AttentionInUse Describe(const LayerGroups& groups, size_t kind, const Selection& selection) {
  AttentionInUse in_use;
  in_use.spec = groups.specs[kind];
  for (size_t layer = 0; layer < groups.group_of_layer.size(); ++layer) {
    if (groups.group_of_layer[layer] == kind) in_use.layers.push_back(layer);
  }
  in_use.backend = selection.backend->Name();
  in_use.automatic = selection.automatic;
  in_use.candidates = selection.candidates;
  in_use.decode_candidates = selection.decode_candidates;
  return in_use;
}

}  // namespace

AttentionSwitch::AttentionSwitch(const LayerGroups& groups, SelectAttention select,
                                 std::vector<Selection>* selections)
    : select_(std::move(select)) {
  TESSERA_CHECK(selections->size() == groups.specs.size());
  for (size_t kind = 0; kind < selections->size(); ++kind) {
    Selection& selection = (*selections)[kind];
    in_use_.push_back(std::make_shared<const AttentionInUse>(Describe(groups, kind, selection)));
    if (select_ == nullptr) continue;
    auto switching = std::make_unique<SwitchingBackend>(std::move(selection.backend));
    backends_.push_back(switching.get());
    selection.backend = std::move(switching);
  }
}

Status AttentionSwitch::Use(size_t kind, const std::string& backend) {
  const size_t num_kinds = in_use().size();
  if (kind >= num_kinds) {
    return InvalidArgument("kind is " + std::to_string(kind) + ", but the model has " +
                           std::to_string(num_kinds) + " kinds of layers, counted from 0.");
  }
  if (select_ == nullptr) {
    return Unsupported("This engine was made with attention backends that cannot be exchanged.");
  }
  TESSERA_ASSIGN_OR_RETURN(Selection selection, select_(kind, backend));
  const std::lock_guard lock(mutex_);
  auto next = std::make_shared<AttentionInUse>(*in_use_[kind]);
  next->backend = selection.backend->Name();
  next->automatic = selection.automatic;
  next->candidates = std::move(selection.candidates);
  next->decode_candidates = std::move(selection.decode_candidates);
  in_use_[kind] = std::move(next);
  backends_[kind]->Use(std::move(selection.backend));
  num_switches_.fetch_add(1, std::memory_order_relaxed);
  return {};
}

std::vector<std::shared_ptr<const AttentionInUse>> AttentionSwitch::in_use() const {
  const std::lock_guard lock(mutex_);
  return in_use_;
}

}  // namespace tessera
