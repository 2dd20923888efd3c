#include "attention/checked_backend.h"

#include <string>
#include <utility>

namespace tessera {

namespace {

bool IsPaged(const AttentionSpec& spec) {
  return spec.type == AttentionType::kDecoder || spec.type == AttentionType::kCross;
}

bool HasRows(const AttentionBatch& batch) {
  return batch.num_seqs > 0 && batch.host.query_start_loc[batch.num_seqs] > 0;
}

Status Require(bool condition, const char* otherwise) {
  return condition ? Status() : InvalidArgument(otherwise);
}

// Addresses that kernels follow.
Status CheckDeviceArrays(const AttentionSpec& spec, const AttentionBatch& batch) {
  const BatchArrays& device = batch.device;
  TESSERA_RETURN_IF_ERROR(
      Require(device.query_start_loc != nullptr && device.seq_lens != nullptr,
              "AttentionBatch::device lacks query_start_loc or seq_lens, which kernels read"));
  return Require(!IsPaged(spec) || device.block_table != nullptr,
                 "AttentionBatch::device lacks block_table, which kernels read");
}

// What the layer's features need of the cache.
Status CheckCache(const AttentionSpec& spec, const KvCache& cache) {
  if (!IsPaged(spec)) return {};
  TESSERA_RETURN_IF_ERROR(
      Require(cache.packing == KvPacking::kStandard,
              "backends read caches of the standard layout; convert packed ones"));
  TESSERA_RETURN_IF_ERROR(
      Require(cache.dtype == spec.cache_dtype, "the cache's type is not that of the spec"));
  const bool scales =
      spec.kv_scales == ScaleMode::kPerTensor || spec.kv_scales == ScaleMode::kPerHead;
  TESSERA_RETURN_IF_ERROR(Require(!scales || (cache.k_scale != nullptr && cache.v_scale != nullptr),
                                  "the cache's scales are missing"));
  return Require(spec.kv_scales != ScaleMode::kPerTokenHead || cache.k_scale_offset > 0,
                 "the cache has no room for scales by token and head");
}

// And of the arguments.
Status CheckArguments(const AttentionSpec& spec, const RunArgs& args) {
  TESSERA_RETURN_IF_ERROR(
      Require(args.query != nullptr && args.output != nullptr, "query and output are missing"));
  TESSERA_RETURN_IF_ERROR(Require(IsPaged(spec) || (args.key != nullptr && args.value != nullptr),
                                  "an encoder's keys and values are missing"));
  TESSERA_RETURN_IF_ERROR(Require(spec.alibi == Alibi::kNone || args.alibi_slopes != nullptr,
                                  "ALiBi needs RunArgs::alibi_slopes"));
  TESSERA_RETURN_IF_ERROR(
      Require(!spec.sinks || args.sinks != nullptr, "sinks need RunArgs::sinks"));
  TESSERA_RETURN_IF_ERROR(Require(!spec.query_query_bias || args.query_query_bias != nullptr,
                                  "a query-query bias needs RunArgs::query_query_bias"));
  return Require(!spec.fp8_output_scale || args.output_scale > 0.0f,
                 "the output's scale must be positive");
}

class CheckedBackend : public Backend {
 public:
  explicit CheckedBackend(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}

  std::string Name() const override { return backend_->Name(); }
  Support Supports(const AttentionSpec& spec, int32_t block_size) const override {
    return backend_->Supports(spec, block_size);
  }

  Result<std::unique_ptr<AttentionPlan>> NewPlan(const AttentionSpec& spec,
                                                 const PlanCapacity& capacity) override {
    TESSERA_RETURN_IF_ERROR(Validate(spec));
    return backend_->NewPlan(spec, capacity);
  }

  Status Prepare(AttentionPlan* plan, const AttentionBatch& batch, Stream& stream) override {
    TESSERA_RETURN_IF_ERROR(Validate(plan->spec(), batch));
    return backend_->Prepare(plan, batch, stream);
  }

  Status WriteKv(const AttentionPlan& plan, const AttentionBatch& batch, const WriteKvArgs& args,
                 const KvCache& cache, Stream& stream) override {
    TESSERA_RETURN_IF_ERROR(Validate(plan.spec(), batch));
    if (HasRows(batch) && !plan.spec().shares_kv) {
      TESSERA_RETURN_IF_ERROR(CheckSlots(batch, cache));
      TESSERA_RETURN_IF_ERROR(
          Require(args.key != nullptr && args.value != nullptr, "new keys and values are missing"));
    }
    return backend_->WriteKv(plan, batch, args, cache, stream);
  }

  Status Run(AttentionPlan* plan, const AttentionBatch& batch, const KvCache& cache,
             const RunArgs& args, Stream& stream) override {
    const AttentionSpec& spec = plan->spec();
    TESSERA_RETURN_IF_ERROR(Validate(spec, batch, cache));
    if (HasRows(batch)) {
      TESSERA_RETURN_IF_ERROR(CheckDeviceArrays(spec, batch));
      TESSERA_RETURN_IF_ERROR(CheckCache(spec, cache));
      TESSERA_RETURN_IF_ERROR(CheckArguments(spec, args));
    }
    return backend_->Run(plan, batch, cache, args, stream);
  }

 private:
  static Status CheckSlots(const AttentionBatch& batch, const KvCache& cache) {
    TESSERA_RETURN_IF_ERROR(Require(
        batch.device.slot_mapping != nullptr && batch.device.query_start_loc != nullptr,
        "AttentionBatch::device lacks slot_mapping or query_start_loc, which kernels read"));
    const int32_t tokens = batch.host.query_start_loc[batch.num_seqs];
    const int64_t slots = cache.num_blocks * cache.block_size;
    for (int32_t token = 0; batch.host.slot_mapping != nullptr && token < tokens; ++token) {
      const int64_t slot = batch.host.slot_mapping[token];
      if (slot >= -1 && slot < slots) continue;
      return InvalidArgument("slot_mapping[" + std::to_string(token) +
                             "] = " + std::to_string(slot) + " is no slot of a cache of " +
                             std::to_string(slots));
    }
    return {};
  }

  const std::unique_ptr<Backend> backend_;
};

}  // namespace

std::unique_ptr<Backend> MakeChecked(std::unique_ptr<Backend> backend) {
  return std::make_unique<CheckedBackend>(std::move(backend));
}

}  // namespace tessera
