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

kernel::KernelArgs MakeKernelArgs(const AttentionSpec& spec, const AttentionBatch& batch,
                                  const KvCache& cache, const RunArgs& args, PlannedWork* plan) {
  const char* data = static_cast<const char*>(cache.data);
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
      .keys = data,
      .values = data + cache.v_offset * static_cast<int64_t>(SizeOf(cache.dtype)),
      .block_stride = cache.block_stride,
      .kv_head_stride = cache.head_stride,
      .token_stride = cache.token_stride,
      .query_start_loc = batch.query_start_loc,
      .seq_lens = batch.seq_lens,
      .block_table = batch.block_table,
      .block_table_stride = batch.block_table_stride,
      .block_size = cache.block_size,
      .num_heads = spec.num_heads,
      .group = spec.group_size(),
      .head_size = spec.head_size,
      .value_size = spec.value_size(),
      .scale = spec.softmax_scale(),
      .soft_cap = spec.soft_cap,
      .causal = spec.causality == Causality::kCausal,
      .window_left = spec.window_left,
      .window_right = spec.window_right,
      .query_dtype = static_cast<uint8_t>(spec.query_dtype),
      .output_dtype = static_cast<uint8_t>(spec.output_dtype),
  };
}

void MergeRows(const AttentionSpec& spec, const kernel::KernelArgs& args,
               const kernel::MergeItem& merge) {
  std::vector<PartialState> states(static_cast<size_t>(merge.parts));
  std::vector<float> row(static_cast<size_t>(args.value_size));
  for (int32_t r = 0; r < merge.row_count; ++r) {
    for (int32_t part = 0; part < merge.parts; ++part) {
      const int64_t partial = merge.partial_row + int64_t{part} * merge.row_count + r;
      states[static_cast<size_t>(part)] = {args.partial_output + partial * args.value_size,
                                           args.partial_lse[partial]};
    }
    const float lse = MergeStates(states, args.value_size, row.data());
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
