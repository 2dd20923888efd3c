// The attention backends of a running engine, and their replacement between two steps.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "attention/switching_backend.h"
#include "engine/layer_groups.h"
#include "tessera/registry.h"
#include "tessera/result.h"

namespace tessera {

// Chooses for the layers of one kind, an index into LayerGroups::specs; `backend` is as
// SelectionRequest::backend. Called from any thread.
using SelectAttention = std::function<Result<Selection>(size_t kind, const std::string& backend)>;

// Who computes the layers of one kind, and why nobody else does.
struct AttentionInUse {
  AttentionSpec spec;
  std::vector<size_t> layers;  // ascending
  std::string backend;         // its name; of two phases with backends of their own, both
  bool automatic = false;      // as the next two: see Selection
  std::vector<Candidate> candidates;
  std::vector<Candidate> decode_candidates;
};

// Thread-safe.
class AttentionSwitch {
 public:
  // Puts a backend that can be switched in the place of each selection's. If `select` is null
  // they stay as they are, for good. `selections` outlive this.
  AttentionSwitch(const LayerGroups& groups, SelectAttention select,
                  std::vector<Selection>* selections);

  // The layers of this kind are computed by another backend from the next step on; sequences under
  // way continue with it. A backend that cannot serve is refused with all its reasons.
  Status Use(size_t kind, const std::string& backend);

  // [kinds]
  std::vector<std::shared_ptr<const AttentionInUse>> in_use() const;
  // How often Use() has changed something.
  int64_t num_switches() const { return num_switches_.load(std::memory_order_relaxed); }

 private:
  const SelectAttention select_;
  std::vector<SwitchingBackend*> backends_;  // [kinds], if there is a select_
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<const AttentionInUse>> in_use_;  // [kinds]
  std::atomic<int64_t> num_switches_{0};
};

}  // namespace tessera
