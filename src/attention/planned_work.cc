#include "attention/planned_work.h"

#include <memory>

#include "tessera/merge.h"

namespace tessera {

std::unique_ptr<PlannedWork> PlanStep(const AttentionSpec& spec, const AttentionBatch& batch,
                                      const PlannerOptions& options,
                                      std::unique_ptr<AttentionPlan> reuse) {
  auto plan = reuse != nullptr
                  ? std::unique_ptr<PlannedWork>(static_cast<PlannedWork*>(reuse.release()))
                  : std::make_unique<PlannedWork>();
  PlanWork(spec, batch, options, &plan->work);
  const size_t rows = static_cast<size_t>(plan->work.partial_rows);
  plan->partial_output.resize(rows * static_cast<size_t>(spec.value_size()));
  plan->partial_lse.resize(rows);
  return plan;
}

kernel::Logits LogitsOf(const AttentionSpec& spec) {
  if (spec.alibi != Alibi::kNone || spec.query_query_bias) return kernel::Logits::kBiased;
  return spec.soft_cap > 0.0f ? kernel::Logits::kSoftCapped : kernel::Logits::kScaled;
}

kernel::KernelArgs MakeKernelArgs(const AttentionSpec& spec, const AttentionBatch& batch,
                                  const KvCache& cache, const RunArgs& args, PlannedWork* plan) {
  const char* data = static_cast<const char*>(cache.data);
  const int64_t element = static_cast<int64_t>(SizeOf(spec.cache_dtype));
  const bool paged = spec.type == AttentionType::kDecoder || spec.type == AttentionType::kCross;
  const bool own_scales =
      spec.kv_scales == ScaleMode::kPerTensor || spec.kv_scales == ScaleMode::kPerHead;
  const bool token_scales = spec.kv_scales == ScaleMode::kPerTokenHead;
  return {
      .query = args.query,
      .query_token_stride = args.query_token_stride,
      .query_head_stride = args.query_head_stride,
      .output = args.output,
      .output_token_stride = args.output_token_stride,
      .output_head_stride = args.output_head_stride,
      .lse = args.lse,
      .partial_output = plan->partial_output.data(),
      .partial_lse = plan->partial_lse.data(),
      .keys = paged ? data : args.key,
      .values = paged ? data + cache.v_offset * element : args.value,
      .block_stride = cache.block_stride,
      .key_head_stride = paged ? cache.head_stride : args.key_head_stride,
      .key_token_stride = paged ? cache.token_stride : args.key_token_stride,
      .value_head_stride = paged ? cache.head_stride : args.value_head_stride,
      .value_token_stride = paged ? cache.token_stride : args.value_token_stride,
      .query_start_loc = batch.query_start_loc,
      .seq_lens = batch.seq_lens,
      .block_table = paged ? batch.block_table : nullptr,
      .block_table_stride = batch.block_table_stride,
      .block_size = cache.block_size,
      .num_heads = spec.num_heads,
      .group = spec.group_size(),
      .head_size = spec.head_size,
      .value_size = spec.value_size(),
      .scale = spec.softmax_scale() * args.query_scale,
      .soft_cap = spec.soft_cap,
      .mask = MakeMaskRule(spec, batch),
      .alibi_slopes = spec.alibi != Alibi::kNone ? args.alibi_slopes : nullptr,
      .alibi_sqrt = spec.alibi == Alibi::kSqrt,
      .sinks = spec.sinks ? args.sinks : nullptr,
      .query_query_bias = spec.query_query_bias ? args.query_query_bias : nullptr,
      .bias_seq_stride = args.bias_seq_stride,
      .bias_row_stride = args.bias_row_stride,
      .key_scales = own_scales ? cache.k_scale : nullptr,
      .value_scales = own_scales ? cache.v_scale : nullptr,
      .scale_head_stride = spec.kv_scales == ScaleMode::kPerHead,
      .key_scale_offset = token_scales ? cache.k_scale_offset : 0,
      .value_scale_offset = token_scales ? cache.v_scale_offset : 0,
      .inverse_output_scale = spec.fp8_output_scale ? 1.0f / args.output_scale : 1.0f,
      .query_dtype = static_cast<uint8_t>(spec.query_dtype),
      .output_dtype = static_cast<uint8_t>(spec.output_dtype),
  };
}

void MergeRows(const AttentionSpec& spec, const kernel::KernelArgs& args,
               const kernel::MergeItem& merge) {
  std::vector<PartialState> states(static_cast<size_t>(merge.parts + merge.shared_parts));
  std::vector<float> row(static_cast<size_t>(args.value_size));
  for (int32_t r = 0; r < merge.row_count; ++r) {
    for (int32_t part = 0; part < merge.parts; ++part) {
      const int64_t partial = merge.partial_row + int64_t{part} * merge.row_count + r;
      states[static_cast<size_t>(part)] = {args.partial_output + partial * args.value_size,
                                           args.partial_lse[partial]};
    }
    for (int32_t part = 0; part < merge.shared_parts; ++part) {
      const int64_t partial = merge.shared_row + part * merge.shared_stride + r;
      states[static_cast<size_t>(merge.parts + part)] = {
          args.partial_output + partial * args.value_size, args.partial_lse[partial]};
    }
    const float lse = MergeStates(states, args.value_size, row.data());
    for (float& x : row) x *= args.inverse_output_scale;
    const int64_t token =
        int64_t{args.query_start_loc[merge.seq]} + (merge.row_begin + r) / args.group;
    const int64_t head = int64_t{merge.kv_head} * args.group + (merge.row_begin + r) % args.group;
    const int64_t offset = token * args.output_token_stride + head * args.output_head_stride;
    ConvertFromFloat(
        spec.output_dtype, row.data(), args.value_size,
        static_cast<char*>(args.output) + offset * static_cast<int64_t>(SizeOf(spec.output_dtype)));
    if (args.lse != nullptr) args.lse[token * args.num_heads + head] = lse;
  }
}

}  // namespace tessera
