#include "attention/switching_backend.h"

#include <utility>

namespace tessera {

namespace {

// A plan, and whose it is.
struct SwitchingPlan : AttentionPlan {
  std::shared_ptr<Backend> backend;
  std::unique_ptr<AttentionPlan> plan;  // ends before its backend
};

}  // namespace

SwitchingBackend::SwitchingBackend(std::shared_ptr<Backend> backend)
    : current_(std::move(backend)) {
  TESSERA_CHECK(current_ != nullptr, "a switching backend needs one to begin with");
}

void SwitchingBackend::Use(std::shared_ptr<Backend> backend) {
  TESSERA_CHECK(backend != nullptr, "there is no backend to switch to");
  const std::lock_guard lock(mutex_);
  current_.swap(backend);
}

std::shared_ptr<Backend> SwitchingBackend::current() const {
  const std::lock_guard lock(mutex_);
  return current_;
}

std::string SwitchingBackend::Name() const { return current()->Name(); }

Support SwitchingBackend::Probe(const DeviceInfo& device) const { return current()->Probe(device); }

Support SwitchingBackend::Supports(const AttentionSpec& spec, int32_t block_size) const {
  return current()->Supports(spec, block_size);
}

std::unique_ptr<AttentionPlan> SwitchingBackend::Plan(const AttentionSpec& spec,
                                                      const AttentionBatch& batch,
                                                      std::unique_ptr<AttentionPlan> reuse) {
  auto plan = reuse != nullptr
                  ? std::unique_ptr<SwitchingPlan>(static_cast<SwitchingPlan*>(reuse.release()))
                  : std::make_unique<SwitchingPlan>();
  std::shared_ptr<Backend> backend = current();
  if (plan->backend != backend) plan->plan.reset();  // another backend's memory is of no use
  plan->backend = std::move(backend);
  plan->plan = plan->backend->Plan(spec, batch, std::move(plan->plan));
  return plan;
}

// Where a switch falls between a step's plan and its rows, the new backend writes them: the layout
// is the same.
void SwitchingBackend::WriteKv(const AttentionSpec& spec, const AttentionBatch& batch,
                               const WriteKvArgs& args, const KvCache& cache) {
  current()->WriteKv(spec, batch, args, cache);
}

void SwitchingBackend::Run(const AttentionPlan& plan, const AttentionSpec& spec,
                           const AttentionBatch& batch, const KvCache& cache, const RunArgs& args) {
  const auto& made = static_cast<const SwitchingPlan&>(plan);
  made.backend->Run(*made.plan, spec, batch, cache, args);
}

void SwitchingBackend::CopyBlocks(const AttentionSpec& spec, const KvCache& cache,
                                  const std::vector<BlockPair>& pairs) {
  current()->CopyBlocks(spec, cache, pairs);
}

void SwitchingBackend::SwapBlocks(const AttentionSpec& spec, const KvCache& source,
                                  const KvCache& destination, const std::vector<BlockPair>& pairs) {
  current()->SwapBlocks(spec, source, destination, pairs);
}

}  // namespace tessera
