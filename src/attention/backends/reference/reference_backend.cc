// The oracle: what attention means, in plain loops and float64. Slow, and easy to check by reading.
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "attention/cache_ops.h"
#include "attention/feature_check.h"
#include "attention/kernel/key_range.h"
#include "tessera/backend.h"

namespace tessera {

namespace {

const FeatureSet& Features() {
  static const FeatureSet features{
      .query_dtypes = {DType::kFloat32, DType::kFloat16, DType::kBFloat16},
      .cache_dtypes = {DType::kFloat32, DType::kFloat16, DType::kBFloat16},
      .output_dtypes = {DType::kFloat32, DType::kFloat16, DType::kBFloat16},
      .max_head_size = 4096,
      .window = true,
      .soft_cap = true,
  };
  return features;
}

// The plan is trivial: every row is computed by itself, so nothing depends on the batch.
class ReferencePlan : public AttentionPlan {};

class ReferenceBackend : public Backend {
 public:
  explicit ReferenceBackend(const BackendContext& context) : threads_(context.threads) {}

  std::string Name() const override { return "reference"; }

  Support Probe(const DeviceInfo& device) const override {
    if (device.kind == DeviceKind::kCpu) return {};
    return {.reasons = {"it computes in host memory, and this device is " + device.name}};
  }

  Support Supports(const AttentionSpec& spec, int32_t block_size) const override {
    Support support{.reasons = RefusalReasons(Features(), spec, block_size)};
    support.decode_ns_per_key = 3.0 * (spec.head_size + spec.value_size());
    support.prefill_ns_per_key = support.decode_ns_per_key;
    return support;
  }

  std::unique_ptr<AttentionPlan> Plan(const AttentionSpec&, const AttentionBatch&,
                                      std::unique_ptr<AttentionPlan> reuse) override {
    return reuse != nullptr ? std::move(reuse) : std::make_unique<ReferencePlan>();
  }

  void WriteKv(const AttentionSpec& spec, const AttentionBatch& batch, const WriteKvArgs& args,
               const KvCache& cache) override {
    HostWriteKv(spec, batch, args, cache, threads_);
  }

  void Run(const AttentionPlan&, const AttentionSpec& spec, const AttentionBatch& batch,
           const KvCache& cache, const RunArgs& args) override {
    for (int32_t seq = 0; seq < batch.num_seqs; ++seq) {
      const int64_t rows = int64_t{batch.QueryLen(seq)} * spec.num_heads;
      threads_->ParallelFor(rows, [&](int64_t row, int) {
        RunRow(spec, batch, cache, args, seq, static_cast<int32_t>(row / spec.num_heads),
               static_cast<int32_t>(row % spec.num_heads));
      });
    }
  }

  void CopyBlocks(const AttentionSpec& spec, const KvCache& cache,
                  const std::vector<BlockPair>& pairs) override {
    HostCopyBlocks(spec, cache, cache, pairs);
  }

  void SwapBlocks(const AttentionSpec& spec, const KvCache& source, const KvCache& destination,
                  const std::vector<BlockPair>& pairs) override {
    HostCopyBlocks(spec, source, destination, pairs);
  }

 private:
  static void RunRow(const AttentionSpec& spec, const AttentionBatch& batch, const KvCache& cache,
                     const RunArgs& args, int32_t seq, int32_t token, int32_t head) {
    const int32_t seq_len = batch.seq_lens[seq];
    const int32_t context_len = seq_len - batch.QueryLen(seq);
    const kernel::KeyRange range =
        kernel::VisibleKeys(token, context_len, seq_len, spec.causality == Causality::kCausal,
                            spec.window_left, spec.window_right);
    const int64_t row = int64_t{batch.query_start_loc[seq]} + token;
    const int64_t query = row * args.query_token_stride + head * args.query_head_stride;
    const int64_t kv_head = head / spec.group_size();
    const auto offset_of = [&](int32_t key) {
      const int64_t block =
          batch.block_table[seq * batch.block_table_stride + key / cache.block_size];
      return cache.KOffset(block, kv_head, key % cache.block_size);
    };

    std::vector<double> scores;
    double maximum = -std::numeric_limits<double>::infinity();
    for (int32_t key = range.begin; key < range.end; ++key) {
      const int64_t offset = offset_of(key);
      double score = 0;
      for (int32_t i = 0; i < spec.head_size; ++i) {
        score += static_cast<double>(LoadAsFloat(spec.query_dtype, args.query, query + i)) *
                 LoadAsFloat(cache.dtype, cache.data, offset + i);
      }
      score *= spec.softmax_scale();
      if (spec.soft_cap > 0.0f) score = spec.soft_cap * std::tanh(score / spec.soft_cap);
      scores.push_back(score);
      maximum = std::max(maximum, score);
    }

    double sum = 0;
    std::vector<double> output(static_cast<size_t>(spec.value_size()), 0.0);
    for (int32_t key = range.begin; key < range.end; ++key) {
      const double p = std::exp(scores[static_cast<size_t>(key - range.begin)] - maximum);
      sum += p;
      const int64_t offset = offset_of(key) + cache.v_offset;
      for (int32_t i = 0; i < spec.value_size(); ++i) {
        output[static_cast<size_t>(i)] += p * LoadAsFloat(cache.dtype, cache.data, offset + i);
      }
    }

    const bool saw_key = !scores.empty();
    const int64_t out = row * args.output_token_stride + head * args.output_head_stride;
    for (int32_t i = 0; i < spec.value_size(); ++i) {
      const double value = saw_key ? output[static_cast<size_t>(i)] / sum : 0.0;
      StoreFromFloat(spec.output_dtype, args.output, out + i, static_cast<float>(value));
    }
    if (args.lse != nullptr) {
      args.lse[row * spec.num_heads + head] = saw_key ? static_cast<float>(maximum + std::log(sum))
                                                      : -std::numeric_limits<float>::infinity();
    }
  }

  ThreadPool* threads_;
};

}  // namespace

std::unique_ptr<Backend> CreateReferenceBackend(const BackendContext& context) {
  return std::make_unique<ReferenceBackend>(context);
}

}  // namespace tessera
