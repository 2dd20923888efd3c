// An attention backend that lives outside of Tessera: plain loops, built into a shared library of
// its own and loaded by path:
//
//   tessera generate --attention-plugin build/libnaive_backend.so --attention-backend naive ...
#include <tessera/plugin.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

using tessera::AttentionBatch;
using tessera::AttentionPlan;
using tessera::AttentionSpec;
using tessera::KvCache;

// Nothing to divide; weights of the keys of one row for each thread.
struct NaivePlan : AttentionPlan {
  NaivePlan(const AttentionSpec& spec, const tessera::PlanCapacity& plan_capacity)
      : AttentionPlan(spec), capacity(plan_capacity) {}
  const tessera::PlanCapacity capacity;
  std::vector<std::vector<double>> weights;
};

bool IsPlainFloat(tessera::DType type) {
  return type == tessera::DType::kFloat32 || type == tessera::DType::kFloat16 ||
         type == tessera::DType::kBFloat16;
}

tessera::Support Probe(const tessera::DeviceInfo& device) {
  tessera::Support support;
  if (device.kind != tessera::DeviceKind::kCpu) support.reasons.push_back("needs a CPU");
  return support;
}

class NaiveBackend final : public tessera::Backend {
 public:
  explicit NaiveBackend(const tessera::BackendContext& context) : threads_(context.threads) {}

  std::string Name() const override { return "naive"; }

  // What is not computed below must be refused here, with every reason.
  tessera::Support Supports(const AttentionSpec& spec, int32_t block_size) const override {
    tessera::Support support;
    const auto refuse = [&](bool wanted, const char* reason) {
      if (wanted) support.reasons.push_back(reason);
    };
    refuse(block_size < 1, "the block size must be positive");
    refuse(!IsPlainFloat(spec.query_dtype) || !IsPlainFloat(spec.cache_dtype) ||
               !IsPlainFloat(spec.output_dtype),
           "only float32, float16 and bfloat16 are supported");
    refuse(spec.type != tessera::AttentionType::kDecoder, "only decoders are supported");
    refuse(spec.causality != tessera::Causality::kCausal, "only causal attention is supported");
    refuse(spec.window_left >= 0 || spec.window_right >= 0, "a sliding window is not supported");
    refuse(spec.chunk_size > 0, "chunked-local attention is not supported");
    refuse(spec.soft_cap > 0, "a soft cap is not supported");
    refuse(spec.alibi != tessera::Alibi::kNone, "ALiBi is not supported");
    refuse(spec.sinks, "sinks are not supported");
    refuse(spec.query_query_bias, "a query-query bias is not supported");
    refuse(spec.prefix_ranges, "bidirectional prefix ranges are not supported");
    refuse(spec.kv_scales != tessera::ScaleMode::kNone, "a quantised cache is not supported");
    refuse(spec.fp8_output_scale, "fused output quantisation is not supported");
    support.decode_ns_per_key = 1000;  // more than anyone else's
    support.prefill_ns_per_key = 1000;
    return support;
  }

  tessera::Result<std::unique_ptr<AttentionPlan>> NewPlan(
      const AttentionSpec& spec, const tessera::PlanCapacity& capacity) override {
    auto plan = std::make_unique<NaivePlan>(spec, capacity);
    plan->weights.resize(static_cast<size_t>(threads_->num_threads()));
    return std::unique_ptr<AttentionPlan>(std::move(plan));
  }

  // The place to allocate what Run() needs, from the host's arrays of the batch.
  tessera::Status Prepare(AttentionPlan* plan, const AttentionBatch& batch,
                          tessera::Stream& /*stream*/) override {
    auto* const naive = static_cast<NaivePlan*>(plan);
    TESSERA_RETURN_IF_ERROR(tessera::CheckCapacity(naive->capacity, batch));
    for (std::vector<double>& weights : naive->weights) {
      weights.resize(std::max(weights.size(), static_cast<size_t>(batch.max_seq_len)));
    }
    return {};
  }

  tessera::Status WriteKv(const AttentionPlan& plan, const AttentionBatch& batch,
                          const tessera::WriteKvArgs& args, const KvCache& cache,
                          tessera::Stream& stream) override {
    const AttentionSpec& spec = plan.spec();
    if (spec.shares_kv) return {};
    // As long as it lives, code of the host may follow addresses of the device.
    const tessera::HostAccess access(stream);
    const int32_t tokens = batch.num_seqs > 0 ? batch.device.query_start_loc[batch.num_seqs] : 0;
    for (int64_t token = 0; token < tokens; ++token) {
      const int64_t slot = batch.device.slot_mapping[token];
      if (slot < 0) continue;
      for (int64_t head = 0; head < spec.num_kv_heads; ++head) {
        const int64_t to = cache.KOffset(slot / cache.block_size, head, slot % cache.block_size);
        const int64_t key = token * args.key_token_stride + head * args.key_head_stride;
        const int64_t value = token * args.value_token_stride + head * args.value_head_stride;
        for (int64_t i = 0; i < spec.head_size; ++i) {
          tessera::StoreFromFloat(cache.dtype, cache.data, to + i,
                                  tessera::LoadAsFloat(args.dtype, args.key, key + i));
        }
        for (int64_t i = 0; cache.v_offset != 0 && i < spec.value_size(); ++i) {
          tessera::StoreFromFloat(cache.dtype, cache.data, to + cache.v_offset + i,
                                  tessera::LoadAsFloat(args.dtype, args.value, value + i));
        }
      }
    }
    return {};
  }

  tessera::Status Run(AttentionPlan* plan, const AttentionBatch& batch, const KvCache& cache,
                      const tessera::RunArgs& args, tessera::Stream& stream) override {
    auto* const naive = static_cast<NaivePlan*>(plan);
    const AttentionSpec& spec = naive->spec();
    const tessera::HostAccess access(stream);
    const int32_t* const starts = batch.device.query_start_loc;
    for (int32_t seq = 0; seq < batch.num_seqs; ++seq) {
      const int32_t query_len = starts[seq + 1] - starts[seq];
      if (!tessera::Includes(naive->capacity.phases, query_len)) continue;
      threads_->ParallelFor(int64_t{query_len} * spec.num_heads, [&](int64_t index, int worker) {
        const Row row{.seq = seq,
                      .token = starts[seq] + index / spec.num_heads,
                      .keys = batch.device.seq_lens[seq] - query_len + 1 +
                              static_cast<int32_t>(index / spec.num_heads),
                      .head = static_cast<int32_t>(index % spec.num_heads)};
        RunRow(spec, batch, cache, args, row, naive->weights[static_cast<size_t>(worker)].data());
      });
    }
    return {};
  }

 private:
  // One row of the output: it sees the first `keys` keys of its request.
  struct Row {
    int32_t seq;
    int64_t token;  // of the step
    int32_t keys;
    int32_t head;
  };

  // Softmax of the scores of the row's keys, then the mean of the values by these weights.
  static void RunRow(const AttentionSpec& spec, const AttentionBatch& batch, const KvCache& cache,
                     const tessera::RunArgs& args, const Row& row, double* weights) {
    const int64_t token = row.token;
    const int32_t keys = row.keys;
    const int32_t head = row.head;
    const int64_t query = token * args.query_token_stride + head * args.query_head_stride;
    const int32_t* const blocks = batch.device.block_table + row.seq * batch.block_table_stride;
    const int64_t kv_head = head / spec.group_size();
    const auto key_at = [&](int32_t key) {
      return cache.KOffset(blocks[key / cache.block_size], kv_head, key % cache.block_size);
    };
    double largest = -INFINITY;
    for (int32_t key = 0; key < keys; ++key) {
      double score = 0;
      for (int32_t i = 0; i < spec.head_size; ++i) {
        score +=
            static_cast<double>(tessera::LoadAsFloat(spec.query_dtype, args.query, query + i)) *
            tessera::LoadAsFloat(cache.dtype, cache.data, key_at(key) + i);
      }
      weights[key] = score * spec.softmax_scale();
      largest = std::fmax(largest, weights[key]);
    }
    double sum = 0;
    if (largest > -INFINITY) {  // else no key counts: the row is 0
      for (int32_t key = 0; key < keys; ++key)
        sum += weights[key] = std::exp(weights[key] - largest);
    }
    const int64_t output = token * args.output_token_stride + head * args.output_head_stride;
    for (int32_t i = 0; i < spec.value_size(); ++i) {
      double value = 0;
      for (int32_t key = 0; sum > 0 && key < keys; ++key) {
        value += weights[key] / sum *
                 tessera::LoadAsFloat(cache.dtype, cache.data, key_at(key) + cache.v_offset + i);
      }
      tessera::StoreFromFloat(spec.output_dtype, args.output, output + i,
                              static_cast<float>(value));
    }
    if (args.lse != nullptr) {
      args.lse[token * spec.num_heads + head] = static_cast<float>(largest + std::log(sum));
    }
  }

  tessera::ThreadPool* const threads_;
};

}  // namespace

TESSERA_BACKEND_PLUGIN("naive", "plain loops, as an example of a backend outside of the program",
                       Probe, [](const tessera::BackendContext& context) {
                         return std::make_unique<NaiveBackend>(context);
                       })
