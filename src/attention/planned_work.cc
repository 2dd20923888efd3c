#include "attention/planned_work.h"

#include <algorithm>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "attention/kernel/item_rows.h"
#include "attention/merge_states.h"

namespace tessera {
namespace {

// Workers' pieces are whole pages apart, so that none has its lines beside another's.
constexpr int64_t kPage = 4096;

// Makes room for so many floats; what was there is lost if it has to grow.
Status Reserve(int64_t floats, Device* device, Buffer* buffer) {
  const int64_t bytes = floats * static_cast<int64_t>(sizeof(float));
  if (bytes <= buffer->bytes()) return {};
  const int64_t grown = std::max(bytes, buffer->bytes() + buffer->bytes() / 2);
  *buffer = Buffer();
  TESSERA_ASSIGN_OR_RETURN(*buffer, device->Allocate(grown, MemoryKind::kDevice));
  return {};
}

}  // namespace

Result<std::unique_ptr<PlannedWork>> NewPlannedWork(const AttentionSpec& spec,
                                                    const PlanCapacity& capacity,
                                                    const PlannerOptions& options, Device* device,
                                                    int64_t worker_bytes) {
  auto plan = std::make_unique<PlannedWork>(spec, capacity, options, device);
  plan->options.phases = capacity.phases;
  plan->worker_stride = (worker_bytes + kPage - 1) / kPage * kPage;
  TESSERA_ASSIGN_OR_RETURN(
      plan->worker_memory,
      device->Allocate(plan->worker_stride * options.workers, MemoryKind::kDevice));
  return plan;
}

Status PrepareWork(const AttentionBatch& batch, PlannedWork* plan) {
  TESSERA_RETURN_IF_ERROR(CheckCapacity(plan->capacity, batch));
  const int64_t value_size = plan->spec().value_size();
  try {
    PlanWork(plan->spec(), batch, plan->options, &plan->work);
  } catch (const std::bad_alloc&) {
    plan->work = {};
    return OutOfMemory("there is no memory for the work list of a step of " +
                       std::to_string(batch.num_seqs) + " requests; make steps smaller");
  }
  const int64_t rows = plan->work.partial_rows;
  const Status status = [&]() -> Status {
    TESSERA_RETURN_IF_ERROR(Reserve(rows * value_size, plan->device, &plan->partial_output));
    return Reserve(rows, plan->device, &plan->partial_lse);
  }();
  if (!status.ok()) plan->work = {};
  return status;
}

kernel::Logits LogitsOf(const AttentionSpec& spec) {
  if (spec.alibi != Alibi::kNone || spec.query_query_bias) return kernel::Logits::kBiased;
  return spec.soft_cap > 0.0f ? kernel::Logits::kSoftCapped : kernel::Logits::kScaled;
}

kernel::KernelArgs MakeKernelArgs(const AttentionBatch& batch, const KvCache& cache,
                                  const RunArgs& args, const PlannedWork& plan) {
  const AttentionSpec& spec = plan.spec();
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
      .partial_output = plan.partial_output.As<float>(),
      .partial_lse = plan.partial_lse.As<float>(),
      .keys = paged ? data : args.key,
      .values = paged ? data + cache.v_offset * element : args.value,
      .block_stride = cache.block_stride,
      .key_head_stride = paged ? cache.head_stride : args.key_head_stride,
      .key_token_stride = paged ? cache.token_stride : args.key_token_stride,
      .value_head_stride = paged ? cache.head_stride : args.value_head_stride,
      .value_token_stride = paged ? cache.token_stride : args.value_token_stride,
      .query_start_loc = batch.device.query_start_loc,
      .seq_lens = batch.device.seq_lens,
      .block_table = paged ? batch.device.block_table : nullptr,
      .block_table_stride = batch.block_table_stride,
      .block_size = cache.block_size,
      .num_heads = spec.num_heads,
      .group = spec.group_size(),
      .head_size = spec.head_size,
      .value_size = spec.value_size(),
      .scale = spec.softmax_scale() * args.query_scale,
      .soft_cap = spec.soft_cap,
      .mask = MakeMaskRule(spec, batch, batch.device),
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
  for (int32_t r = 0; r < merge.row_count; ++r) {
    // Into the first part's own row: it is not read afterwards.
    float* const row = args.partial_output + kernel::PartialRow(merge, 0, r) * args.value_size;
    const float lse = MergeStatesOf(
        merge.parts + merge.shared_parts,
        [&](int32_t part) {
          const int64_t partial = kernel::PartialRow(merge, part, r);
          return PartialState{args.partial_output + partial * args.value_size,
                              args.partial_lse[partial]};
        },
        args.value_size, row);
    for (int32_t i = 0; i < args.value_size; ++i) row[i] *= args.inverse_output_scale;
    const kernel::RowPlace place = kernel::PlaceOfRow(args, merge, r);
    const int64_t offset = kernel::OutputOffset(args, place);
    ConvertFromFloat(
        spec.output_dtype, row, args.value_size,
        static_cast<char*>(args.output) + offset * static_cast<int64_t>(SizeOf(spec.output_dtype)));
    if (args.lse != nullptr) args.lse[kernel::LseOffset(args, place)] = lse;
  }
}

}  // namespace tessera
