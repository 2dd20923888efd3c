#include "attention/phase_split.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace tessera {
namespace {

// Neighbouring requests of one phase.
struct Slice {
  Backend* backend = nullptr;
  int32_t first_seq = 0;
  int32_t first_token = 0;
  std::vector<int32_t> query_start_loc;  // the slice's own, first 0
  AttentionBatch batch;                  // points into query_start_loc and the step's arrays
  std::unique_ptr<AttentionPlan> plan;
};

struct SplitPlan : AttentionPlan {
  std::vector<Slice> slices;
};

// The requests [begin, end) of `whole`.
void Cut(const AttentionBatch& whole, int32_t begin, int32_t end, Slice* slice) {
  slice->first_seq = begin;
  slice->first_token = whole.query_start_loc[begin];
  slice->query_start_loc.clear();
  AttentionBatch& batch = slice->batch;
  batch = whole;
  batch.max_query_len = 0;
  batch.max_seq_len = 0;
  for (int32_t seq = begin; seq < end; ++seq) {
    slice->query_start_loc.push_back(whole.query_start_loc[seq] - slice->first_token);
    batch.max_query_len = std::max(batch.max_query_len, whole.QueryLen(seq));
    batch.max_seq_len = std::max(batch.max_seq_len, whole.seq_lens[seq]);
  }
  slice->query_start_loc.push_back(whole.query_start_loc[end] - slice->first_token);
  batch.num_seqs = end - begin;
  batch.num_tokens = slice->query_start_loc.back();
  batch.query_start_loc = slice->query_start_loc.data();
  batch.seq_lens = whole.seq_lens + begin;
  batch.block_table = whole.block_table + begin * whole.block_table_stride;
  if (whole.slot_mapping != nullptr) batch.slot_mapping = whole.slot_mapping + slice->first_token;
  if (whole.causal != nullptr) batch.causal = whole.causal + begin;
  if (whole.prefix_ranges != nullptr) {
    batch.prefix_ranges = whole.prefix_ranges + int64_t{begin} * whole.max_prefix_ranges * 2;
  }
}

const void* Advance(const void* data, int64_t elements, DType dtype) {
  if (data == nullptr) return nullptr;
  return static_cast<const std::byte*>(data) + elements * static_cast<int64_t>(SizeOf(dtype));
}

// What belongs to one request or token starts at the slice's first.
RunArgs ArgsOf(const Slice& slice, const AttentionSpec& spec, const RunArgs& whole) {
  const int64_t token = slice.first_token;
  RunArgs args = whole;
  args.query = Advance(whole.query, token * whole.query_token_stride, spec.query_dtype);
  args.output = const_cast<void*>(
      Advance(whole.output, token * whole.output_token_stride, spec.output_dtype));
  if (whole.lse != nullptr) args.lse = whole.lse + token * spec.num_heads;
  if (whole.query_query_bias != nullptr) {
    args.query_query_bias = whole.query_query_bias + slice.first_seq * whole.bias_seq_stride;
  }
  args.key = Advance(whole.key, token * whole.key_token_stride, spec.cache_dtype);
  args.value = Advance(whole.value, token * whole.value_token_stride, spec.cache_dtype);
  return args;
}

class PhaseSplit final : public Backend {
 public:
  PhaseSplit(std::unique_ptr<Backend> prefill, std::unique_ptr<Backend> decode)
      : prefill_(std::move(prefill)), decode_(std::move(decode)) {}

  std::string Name() const override {
    return "prefill=" + prefill_->Name() + ",decode=" + decode_->Name();
  }

  Support Probe(const DeviceInfo& device) const override {
    return Both(prefill_->Probe(device), decode_->Probe(device));
  }

  Support Supports(const AttentionSpec& spec, int32_t block_size) const override {
    Support support =
        Both(prefill_->Supports(spec, block_size), decode_->Supports(spec, block_size));
    if (spec.batch_invariant) {
      support.reasons.emplace_back(
          "batch invariance needs one backend for both phases, since the division of a prompt into "
          "steps would change its result");
    }
    return support;
  }

  std::unique_ptr<AttentionPlan> Plan(const AttentionSpec& spec, const AttentionBatch& batch,
                                      std::unique_ptr<AttentionPlan> reuse) override {
    std::unique_ptr<SplitPlan> plan(static_cast<SplitPlan*>(reuse.release()));
    if (plan == nullptr) plan = std::make_unique<SplitPlan>();
    std::vector<Slice> old = std::exchange(plan->slices, {});
    for (int32_t begin = 0, end = 0; begin < batch.num_seqs; begin = end) {
      Backend* const backend = BackendOf(batch, begin);
      while (end < batch.num_seqs && BackendOf(batch, end) == backend) ++end;
      Slice slice = TakeSlice(backend, &old);
      Cut(batch, begin, end, &slice);
      slice.plan = backend->Plan(spec, slice.batch, std::move(slice.plan));
      plan->slices.push_back(std::move(slice));
    }
    return plan;
  }

  void WriteKv(const AttentionSpec& spec, const AttentionBatch& batch, const WriteKvArgs& args,
               const KvCache& cache) override {
    prefill_->WriteKv(spec, batch, args, cache);
  }

  void Run(const AttentionPlan& plan, const AttentionSpec& spec, const AttentionBatch& /*batch*/,
           const KvCache& cache, const RunArgs& args) override {
    for (const Slice& slice : static_cast<const SplitPlan&>(plan).slices) {
      slice.backend->Run(*slice.plan, spec, slice.batch, cache, ArgsOf(slice, spec, args));
    }
  }

  void CopyBlocks(const AttentionSpec& spec, const KvCache& cache,
                  const std::vector<BlockPair>& pairs) override {
    prefill_->CopyBlocks(spec, cache, pairs);
  }

  void SwapBlocks(const AttentionSpec& spec, const KvCache& source, const KvCache& destination,
                  const std::vector<BlockPair>& pairs) override {
    prefill_->SwapBlocks(spec, source, destination, pairs);
  }

 private:
  static Support Both(Support prefill, const Support& decode) {
    for (std::string& reason : prefill.reasons) reason = "prefill: " + reason;
    for (const std::string& reason : decode.reasons) prefill.reasons.push_back("decode: " + reason);
    prefill.decode_ns_per_key = decode.decode_ns_per_key;
    return prefill;
  }

  Backend* BackendOf(const AttentionBatch& batch, int32_t seq) const {
    return batch.QueryLen(seq) > 1 ? prefill_.get() : decode_.get();
  }

  // One whose memory was the same backend's, where there is one.
  static Slice TakeSlice(Backend* backend, std::vector<Slice>* old) {
    Slice slice;
    const auto found = std::find_if(old->begin(), old->end(),
                                    [&](const Slice& s) { return s.backend == backend; });
    if (found != old->end()) {
      slice = std::move(*found);
      old->erase(found);
    }
    slice.backend = backend;
    return slice;
  }

  const std::unique_ptr<Backend> prefill_;
  const std::unique_ptr<Backend> decode_;
};

}  // namespace

std::unique_ptr<Backend> CreatePhaseSplit(std::unique_ptr<Backend> prefill,
                                          std::unique_ptr<Backend> decode) {
  return std::make_unique<PhaseSplit>(std::move(prefill), std::move(decode));
}

}  // namespace tessera
