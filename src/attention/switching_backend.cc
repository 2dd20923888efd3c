#include "attention/switching_backend.h"

#include <utility>

namespace tessera {

namespace {

// A plan, and whose it is.
struct SwitchingPlan : AttentionPlan {
  SwitchingPlan(const AttentionSpec& spec, const PlanCapacity& plan_capacity)
      : AttentionPlan(spec), capacity(plan_capacity) {}

  // Fails as NewPlan() does, and then keeps what it has.
  Status MakeFor(std::shared_ptr<Backend> next) {
    TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<AttentionPlan> made, next->NewPlan(spec(), capacity));
    plan = std::move(made);
    backend = std::move(next);
    ++generation;
    return {};
  }

  uint64_t version() const override { return (generation << 32) + plan->version(); }

  const PlanCapacity capacity;
  uint64_t generation = 0;  // counts the plans that it has had
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

Support SwitchingBackend::Supports(const AttentionSpec& spec, int32_t block_size) const {
  return current()->Supports(spec, block_size);
}

Result<std::unique_ptr<AttentionPlan>> SwitchingBackend::NewPlan(const AttentionSpec& spec,
                                                                 const PlanCapacity& capacity) {
  auto plan = std::make_unique<SwitchingPlan>(spec, capacity);
  TESSERA_RETURN_IF_ERROR(plan->MakeFor(current()));
  return std::unique_ptr<AttentionPlan>(std::move(plan));
}

Status SwitchingBackend::Prepare(AttentionPlan* plan, const AttentionBatch& batch, Stream& stream) {
  auto* const made = static_cast<SwitchingPlan*>(plan);
  if (std::shared_ptr<Backend> backend = current(); backend != made->backend) {
    // Work of the plan that ends may still be under way.
    if (stream.asynchronous()) TESSERA_RETURN_IF_ERROR(stream.Synchronize());
    TESSERA_RETURN_IF_ERROR(made->MakeFor(std::move(backend)));
  }
  return made->backend->Prepare(made->plan.get(), batch, stream);
}

Status SwitchingBackend::WriteKv(const AttentionPlan& plan, const AttentionBatch& batch,
                                 const WriteKvArgs& args, const KvCache& cache, Stream& stream) {
  const auto& made = static_cast<const SwitchingPlan&>(plan);
  return made.backend->WriteKv(*made.plan, batch, args, cache, stream);
}

Status SwitchingBackend::Run(AttentionPlan* plan, const AttentionBatch& batch, const KvCache& cache,
                             const RunArgs& args, Stream& stream) {
  auto* const made = static_cast<SwitchingPlan*>(plan);
  return made->backend->Run(made->plan.get(), batch, cache, args, stream);
}

}  // namespace tessera
