#include "attention/checked_backend.h"

#include <string>
#include <utility>

namespace tessera {

namespace {

void CheckSpec(const AttentionSpec& spec) {
  const Status status = Validate(spec);
  TESSERA_CHECK(status.ok(), status.ok() ? "" : status.error().message);
}

void CheckBatch(const AttentionSpec& spec, const AttentionBatch& batch, const KvCache& cache) {
  const Status status = Validate(spec, batch, cache);
  TESSERA_CHECK(status.ok(), status.ok() ? "" : status.error().message);
}

// What the layer's features need of the arguments.
void CheckArguments(const AttentionSpec& spec, const AttentionBatch& batch, const KvCache& cache,
                    const RunArgs& args) {
  const bool rows = batch.num_seqs > 0 && batch.query_start_loc[batch.num_seqs] > 0;
  if (!rows) return;
  const bool paged = spec.type == AttentionType::kDecoder || spec.type == AttentionType::kCross;
  TESSERA_CHECK(args.query != nullptr && args.output != nullptr, "query and output are missing");
  TESSERA_CHECK(paged || (args.key != nullptr && args.value != nullptr),
                "an encoder's keys and values are missing");
  TESSERA_CHECK(!paged || cache.packing == KvPacking::kStandard,
                "backends read caches of the standard layout; convert packed ones");
  TESSERA_CHECK(!paged || cache.dtype == spec.cache_dtype,
                "the cache's type is not that of the spec");
  TESSERA_CHECK(spec.alibi == Alibi::kNone || args.alibi_slopes != nullptr,
                "ALiBi needs RunArgs::alibi_slopes");
  TESSERA_CHECK(!spec.sinks || args.sinks != nullptr, "sinks need RunArgs::sinks");
  TESSERA_CHECK(!spec.query_query_bias || args.query_query_bias != nullptr,
                "a query-query bias needs RunArgs::query_query_bias");
  const bool scales =
      spec.kv_scales == ScaleMode::kPerTensor || spec.kv_scales == ScaleMode::kPerHead;
  TESSERA_CHECK(!scales || (cache.k_scale != nullptr && cache.v_scale != nullptr),
                "the cache's scales are missing");
  TESSERA_CHECK(spec.kv_scales != ScaleMode::kPerTokenHead || cache.k_scale_offset > 0,
                "the cache has no room for scales by token and head");
  TESSERA_CHECK(!spec.fp8_output_scale || args.output_scale > 0.0f,
                "the output's scale must be positive");
}

class CheckedBackend : public Backend {
 public:
  explicit CheckedBackend(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}

  std::string Name() const override { return backend_->Name(); }
  Support Probe(const DeviceInfo& device) const override { return backend_->Probe(device); }
  Support Supports(const AttentionSpec& spec, int32_t block_size) const override {
    return backend_->Supports(spec, block_size);
  }

  std::unique_ptr<AttentionPlan> Plan(const AttentionSpec& spec, const AttentionBatch& batch,
                                      std::unique_ptr<AttentionPlan> reuse) override {
    CheckSpec(spec);
    return backend_->Plan(spec, batch, std::move(reuse));
  }

  void WriteKv(const AttentionSpec& spec, const AttentionBatch& batch, const WriteKvArgs& args,
               const KvCache& cache) override {
    const int32_t tokens = batch.num_seqs > 0 ? batch.query_start_loc[batch.num_seqs] : 0;
    for (int32_t token = 0; token < tokens && !spec.shares_kv; ++token) {
      const int64_t slot = batch.slot_mapping[token];
      TESSERA_CHECK(slot >= -1 && slot < cache.num_blocks * cache.block_size,
                    "slot_mapping[" + std::to_string(token) + "] = " + std::to_string(slot) +
                        " is no slot of a cache of " +
                        std::to_string(cache.num_blocks * cache.block_size));
    }
    backend_->WriteKv(spec, batch, args, cache);
  }

  void Run(const AttentionPlan& plan, const AttentionSpec& spec, const AttentionBatch& batch,
           const KvCache& cache, const RunArgs& args) override {
    CheckBatch(spec, batch, cache);
    CheckArguments(spec, batch, cache, args);
    backend_->Run(plan, spec, batch, cache, args);
  }

  void CopyBlocks(const AttentionSpec& spec, const KvCache& cache,
                  const std::vector<BlockPair>& pairs) override {
    CheckBlocks(cache, cache, pairs);
    backend_->CopyBlocks(spec, cache, pairs);
  }

  void SwapBlocks(const AttentionSpec& spec, const KvCache& source, const KvCache& destination,
                  const std::vector<BlockPair>& pairs) override {
    CheckBlocks(source, destination, pairs);
    backend_->SwapBlocks(spec, source, destination, pairs);
  }

 private:
  static void CheckBlocks(const KvCache& source, const KvCache& destination,
                          const std::vector<BlockPair>& pairs) {
    for (const BlockPair& pair : pairs) {
      const bool known = pair.source >= 0 && pair.source < source.num_blocks &&
                         pair.destination >= 0 && pair.destination < destination.num_blocks;
      TESSERA_CHECK(known, "there is no block " + std::to_string(pair.source) + " or " +
                               std::to_string(pair.destination) + " to copy");
    }
  }

  std::unique_ptr<Backend> backend_;
};

}  // namespace

std::unique_ptr<Backend> MakeChecked(std::unique_ptr<Backend> backend) {
  return std::make_unique<CheckedBackend>(std::move(backend));
}

}  // namespace tessera
