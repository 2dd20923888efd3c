#include "attention/switching_backend.h"

#include <utility>

namespace tessera {

namespace {

// A plan, and whose it is.
struct SwitchingPlan : AttentionPlan {
  size_t backend = 0;
  std::unique_ptr<AttentionPlan> plan;
};

}  // namespace

SwitchingBackend::SwitchingBackend(std::vector<std::unique_ptr<Backend>> backends)
    : backends_(std::move(backends)) {
  TESSERA_CHECK(!backends_.empty(), "a switching backend needs one to switch to");
}

void SwitchingBackend::Use(size_t index) {
  TESSERA_CHECK(index < backends_.size(), "there is no such backend to switch to");
  current_.store(index);
}

std::string SwitchingBackend::Name() const { return current().Name(); }

Support SwitchingBackend::Probe(const DeviceInfo& device) const { return current().Probe(device); }

Support SwitchingBackend::Supports(const AttentionSpec& spec, int32_t block_size) const {
  Support support = current().Supports(spec, block_size);
  support.reasons.clear();
  for (const auto& backend : backends_) {
    for (const std::string& reason : backend->Supports(spec, block_size).reasons) {
      support.reasons.push_back(backend->Name() + ": " + reason);
    }
  }
  return support;
}

std::unique_ptr<AttentionPlan> SwitchingBackend::Plan(const AttentionSpec& spec,
                                                      const AttentionBatch& batch,
                                                      std::unique_ptr<AttentionPlan> reuse) {
  auto plan = reuse != nullptr
                  ? std::unique_ptr<SwitchingPlan>(static_cast<SwitchingPlan*>(reuse.release()))
                  : std::make_unique<SwitchingPlan>();
  const size_t index = current_.load();
  if (plan->backend != index) plan->plan.reset();  // another backend's memory is of no use
  plan->backend = index;
  plan->plan = backends_[index]->Plan(spec, batch, std::move(plan->plan));
  return plan;
}

void SwitchingBackend::WriteKv(const AttentionSpec& spec, const AttentionBatch& batch,
                               const WriteKvArgs& args, const KvCache& cache) {
  current().WriteKv(spec, batch, args, cache);
}

void SwitchingBackend::Run(const AttentionPlan& plan, const AttentionSpec& spec,
                           const AttentionBatch& batch, const KvCache& cache, const RunArgs& args) {
  const auto& made = static_cast<const SwitchingPlan&>(plan);
  backends_[made.backend]->Run(*made.plan, spec, batch, cache, args);
}

void SwitchingBackend::CopyBlocks(const AttentionSpec& spec, const KvCache& cache,
                                  const std::vector<BlockPair>& pairs) {
  current().CopyBlocks(spec, cache, pairs);
}

void SwitchingBackend::SwapBlocks(const AttentionSpec& spec, const KvCache& source,
                                  const KvCache& destination, const std::vector<BlockPair>& pairs) {
  current().SwapBlocks(spec, source, destination, pairs);
}

}  // namespace tessera
