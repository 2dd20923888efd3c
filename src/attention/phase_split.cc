#include "attention/phase_split.h"

#include <utility>

namespace tessera {
namespace {

struct SplitPlan : AttentionPlan {
  explicit SplitPlan(const AttentionSpec& spec) : AttentionPlan(spec) {}
  uint64_t version() const override {
    return decode->version() + (prefill != nullptr ? prefill->version() : 0);
  }
  std::unique_ptr<AttentionPlan> prefill;  // null if all steps decode
  std::unique_ptr<AttentionPlan> decode;
};

class PhaseSplit final : public Backend {
 public:
  PhaseSplit(std::unique_ptr<Backend> prefill, std::unique_ptr<Backend> decode)
      : prefill_(std::move(prefill)), decode_(std::move(decode)) {}

  std::string Name() const override {
    return "prefill=" + prefill_->Name() + ",decode=" + decode_->Name();
  }

  Support Supports(const AttentionSpec& spec, int32_t block_size) const override {
    Support support;
    const Support prefill = prefill_->Supports(spec, block_size);
    const Support decode = decode_->Supports(spec, block_size);
    for (const std::string& reason : prefill.reasons) {
      support.reasons.push_back("prefill: " + reason);
    }
    for (const std::string& reason : decode.reasons) support.reasons.push_back("decode: " + reason);
    if (spec.batch_invariant) {
      support.reasons.emplace_back(
          "batch invariance needs one backend for both phases, since the division of a prompt into "
          "steps would change its result");
    }
    support.prefill_ns_per_key = prefill.prefill_ns_per_key;
    support.decode_ns_per_key = decode.decode_ns_per_key;
    return support;
  }

  // `capacity.phases` is kBoth: splits are not nested.
  Result<std::unique_ptr<AttentionPlan>> NewPlan(const AttentionSpec& spec,
                                                 const PlanCapacity& capacity) override {
    TESSERA_CHECK(capacity.phases == Phases::kBoth, "a split of one phase");
    auto plan = std::make_unique<SplitPlan>(spec);
    PlanCapacity part = capacity;
    part.phases = Phases::kDecode;
    TESSERA_ASSIGN_OR_RETURN(plan->decode, decode_->NewPlan(spec, part));
    part.phases = Phases::kPrefill;
    if (!capacity.decode_only) {
      TESSERA_ASSIGN_OR_RETURN(plan->prefill, prefill_->NewPlan(spec, part));
    }
    return std::unique_ptr<AttentionPlan>(std::move(plan));
  }

  Status Prepare(AttentionPlan* plan, const AttentionBatch& batch, Stream& stream) override {
    auto* const split = static_cast<SplitPlan*>(plan);
    TESSERA_RETURN_IF_ERROR(decode_->Prepare(split->decode.get(), batch, stream));
    if (split->prefill == nullptr) return {};
    return prefill_->Prepare(split->prefill.get(), batch, stream);
  }

  Status WriteKv(const AttentionPlan& plan, const AttentionBatch& batch, const WriteKvArgs& args,
                 const KvCache& cache, Stream& stream) override {
    const auto& split = static_cast<const SplitPlan&>(plan);
    if (split.prefill == nullptr) {
      return decode_->WriteKv(*split.decode, batch, args, cache, stream);
    }
    return prefill_->WriteKv(*split.prefill, batch, args, cache, stream);
  }

  Status Run(AttentionPlan* plan, const AttentionBatch& batch, const KvCache& cache,
             const RunArgs& args, Stream& stream) override {
    auto* const split = static_cast<SplitPlan*>(plan);
    if (split->prefill != nullptr) {
      TESSERA_RETURN_IF_ERROR(prefill_->Run(split->prefill.get(), batch, cache, args, stream));
    }
    return decode_->Run(split->decode.get(), batch, cache, args, stream);
  }

 private:
  const std::unique_ptr<Backend> prefill_;
  const std::unique_ptr<Backend> decode_;
};

}  // namespace

std::unique_ptr<Backend> CreatePhaseSplit(std::unique_ptr<Backend> prefill,
                                          std::unique_ptr<Backend> decode) {
  return std::make_unique<PhaseSplit>(std::move(prefill), std::move(decode));
}

}  // namespace tessera
