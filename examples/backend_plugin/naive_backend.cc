// An attention backend that lives outside of Tessera: plain loops, built into a shared library of
// its own and loaded by path:
//
//   tessera generate --attention-plugin build/libnaive_backend.so --attention-backend naive ...
#include <tessera/plugin.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

namespace {

using tessera::AttentionBatch;
using tessera::AttentionPlan;
using tessera::AttentionSpec;
using tessera::KvCache;

// This backend has nothing to plan.
struct NoPlan : AttentionPlan {};

bool IsPlainFloat(tessera::DType type) {
  return type == tessera::DType::kFloat32 || type == tessera::DType::kFloat16 ||
         type == tessera::DType::kBFloat16;
}

class NaiveBackend final : public tessera::Backend {
 public:
  explicit NaiveBackend(const tessera::BackendContext& context) : threads_(context.threads) {}

  std::string Name() const override { return "naive"; }

  tessera::Support Probe(const tessera::DeviceInfo& device) const override {
    tessera::Support support;
    if (device.kind != tessera::DeviceKind::kCpu) support.reasons.push_back("needs a CPU");
    return support;
  }

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

  std::unique_ptr<AttentionPlan> Plan(const AttentionSpec& /*spec*/,
                                      const AttentionBatch& /*batch*/,
                                      std::unique_ptr<AttentionPlan> reuse) override {
    return reuse != nullptr ? std::move(reuse) : std::make_unique<NoPlan>();
  }

  void WriteKv(const AttentionSpec& spec, const AttentionBatch& batch,
               const tessera::WriteKvArgs& args, const KvCache& cache) override {
    for (int64_t token = 0; token < batch.num_tokens; ++token) {
      const int64_t slot = batch.slot_mapping[token];
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
  }

  void Run(const AttentionPlan& /*plan*/, const AttentionSpec& spec, const AttentionBatch& batch,
           const KvCache& cache, const tessera::RunArgs& args) override {
    for (int32_t seq = 0; seq < batch.num_seqs; ++seq) {
      threads_->ParallelFor(
          int64_t{batch.QueryLen(seq)} * spec.num_heads, [&](int64_t index, int /*worker*/) {
            RunRow(spec, batch, cache, args, seq, static_cast<int32_t>(index / spec.num_heads),
                   static_cast<int32_t>(index % spec.num_heads));
          });
    }
  }

  void CopyBlocks(const AttentionSpec& spec, const KvCache& cache,
                  const std::vector<tessera::BlockPair>& pairs) override {
    SwapBlocks(spec, cache, cache, pairs);
  }

  void SwapBlocks(const AttentionSpec& spec, const KvCache& source, const KvCache& destination,
                  const std::vector<tessera::BlockPair>& pairs) override {
    for (const tessera::BlockPair& pair : pairs) {
      for (int64_t head = 0; head < spec.num_kv_heads; ++head) {
        for (int64_t token = 0; token < source.block_size; ++token) {
          const int64_t from = source.KOffset(pair.source, head, token);
          const int64_t to = destination.KOffset(pair.destination, head, token);
          CopyContent(source, from, destination, to, spec.head_size);
          CopyContent(source, from + source.v_offset, destination, to + destination.v_offset,
                      spec.value_size());
        }
      }
    }
  }

 private:
  static void CopyContent(const KvCache& source, int64_t from, const KvCache& destination,
                          int64_t to, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      tessera::StoreFromFloat(destination.dtype, destination.data, to + i,
                              tessera::LoadAsFloat(source.dtype, source.data, from + i));
    }
  }

  // Softmax of the scores of the row's keys, then the mean of the values by these weights.
  static void RunRow(const AttentionSpec& spec, const AttentionBatch& batch, const KvCache& cache,
                     const tessera::RunArgs& args, int32_t seq, int32_t row, int32_t head) {
    const int64_t token = batch.query_start_loc[seq] + row;
    const int32_t keys = batch.seq_lens[seq] - batch.QueryLen(seq) + row + 1;
    const int64_t query = token * args.query_token_stride + head * args.query_head_stride;
    const auto key_at = [&](int32_t key) {
      const int32_t* blocks = batch.block_table + seq * batch.block_table_stride;
      return cache.KOffset(blocks[key / cache.block_size], head / spec.group_size(),
                           key % cache.block_size);
    };
    std::vector<double> weights(static_cast<size_t>(keys));
    double largest = -INFINITY;
    for (int32_t key = 0; key < keys; ++key) {
      double score = 0;
      for (int32_t i = 0; i < spec.head_size; ++i) {
        score +=
            static_cast<double>(tessera::LoadAsFloat(spec.query_dtype, args.query, query + i)) *
            tessera::LoadAsFloat(cache.dtype, cache.data, key_at(key) + i);
      }
      weights[static_cast<size_t>(key)] = score * spec.softmax_scale();
      largest = std::fmax(largest, weights[static_cast<size_t>(key)]);
    }
    double sum = 0;
    if (largest > -INFINITY) {  // else no key counts: the row is 0
      for (double& weight : weights) sum += weight = std::exp(weight - largest);
    }
    const int64_t output = token * args.output_token_stride + head * args.output_head_stride;
    for (int32_t i = 0; i < spec.value_size(); ++i) {
      double value = 0;
      for (int32_t key = 0; sum > 0 && key < keys; ++key) {
        value += weights[static_cast<size_t>(key)] / sum *
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
                       [](const tessera::BackendContext& context) {
                         return std::make_unique<NaiveBackend>(context);
                       })
