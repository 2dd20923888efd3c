// The rows of an item, and what belongs to each of them: its place, the keys that it sees, its
// sink, its part of a bias.
#pragma once

#include <cstdint>

#include "attention/kernel/kernel_args.h"
#include "attention/kernel/key_range.h"
#include "attention/kernel/ops.h"

namespace tessera::kernel {

struct ItemRows {
  int32_t first_token;  // of packed row 0
  int32_t context_len;
  int32_t query_len;
  int32_t seq_len;
  int32_t key_end;  // what lies after it belongs to other items, or to nobody
};

TESSERA_HOST_DEVICE ItemRows RowsOf(const KernelArgs& args, const WorkItem& item) {
  const int32_t first_token = args.query_start_loc[item.seq];
  const int32_t query_len = args.query_start_loc[item.seq + 1] - first_token;
  const int32_t seq_len = args.seq_lens[item.seq];
  return {item.shared_prefix != 0 ? 0 : first_token, seq_len - query_len, query_len, seq_len,
          item.key_end < seq_len ? item.key_end : seq_len};
}

// The item with the keys that its rows see by the device's lengths, which may be smaller than those
// it was planned by: its rows then lie further left.
TESSERA_HOST_DEVICE WorkItem FitToLengths(const KernelArgs& args, WorkItem item) {
  if (item.shared_prefix != 0) return item;
  const ItemRows rows = RowsOf(args, item);
  const KeyRange first =
      VisibleKeys(args.mask, item.seq, item.row_begin / args.group, rows.context_len, rows.seq_len);
  const KeyRange last =
      VisibleKeys(args.mask, item.seq, (item.row_begin + item.row_count - 1) / args.group,
                  rows.context_len, rows.seq_len);
  // Only windows and chunks begin elsewhere than at 0, or than where a shared prefix ends.
  const bool moves = args.mask.window_left >= 0 || args.mask.chunk_size > 0;
  if (moves && item.first_part != 0 && first.begin < item.key_begin) item.key_begin = first.begin;
  if (last.end < item.key_end) item.key_end = last.end;
  return item;
}

// The item's keys that a row sees, but for those before the item's first.
TESSERA_HOST_DEVICE KeyRange VisibleToRow(const KernelArgs& args, const WorkItem& item,
                                          const ItemRows& rows, int32_t row) {
  if (item.shared_prefix != 0) return {0, rows.key_end};
  return VisibleKeys(args.mask, item.seq, (item.row_begin + row) / args.group, rows.context_len,
                     rows.key_end);
}

// Where a row's query comes from, and where its result goes.
struct RowPlace {
  int64_t token;
  int64_t head;
};

// Of row `packed` of the KV head, from token `first_token` on.
TESSERA_HOST_DEVICE RowPlace PlaceOfRow(const KernelArgs& args, int64_t first_token,
                                        int64_t kv_head, int32_t packed) {
  return {first_token + packed / args.group, kv_head * args.group + packed % args.group};
}
TESSERA_HOST_DEVICE RowPlace PlaceOfRow(const KernelArgs& args, const WorkItem& item, int32_t row) {
  return PlaceOfRow(args, RowsOf(args, item).first_token, item.kv_head, item.row_begin + row);
}
TESSERA_HOST_DEVICE RowPlace PlaceOfRow(const KernelArgs& args, const MergeItem& merge,
                                        int32_t row) {
  return PlaceOfRow(args, args.query_start_loc[merge.seq], merge.kv_head, merge.row_begin + row);
}

// In elements.
TESSERA_HOST_DEVICE int64_t QueryOffset(const KernelArgs& args, const RowPlace& place) {
  return place.token * args.query_token_stride + place.head * args.query_head_stride;
}
TESSERA_HOST_DEVICE int64_t OutputOffset(const KernelArgs& args, const RowPlace& place) {
  return place.token * args.output_token_stride + place.head * args.output_head_stride;
}
TESSERA_HOST_DEVICE int64_t LseOffset(const KernelArgs& args, const RowPlace& place) {
  return place.token * args.num_heads + place.head;
}

// The state of row `row` in the merge's part `part`, as a row of the partial buffers.
TESSERA_HOST_DEVICE int64_t PartialRow(const MergeItem& merge, int32_t part, int32_t row) {
  return part < merge.parts ? merge.partial_row + int64_t{part} * merge.row_count + row
                            : merge.shared_row + (part - merge.parts) * merge.shared_stride + row;
}

// The scale of the item's KV head, or of the tensor; `scales` may be null.
TESSERA_HOST_DEVICE float HeadScale(const KernelArgs& args, const WorkItem& item,
                                    const float* scales) {
  return scales != nullptr ? scales[item.kv_head * args.scale_head_stride] : 1.0f;
}

// Whether the item counts its rows' sinks: one part of a split key range does.
TESSERA_HOST_DEVICE bool CountsSinks(const KernelArgs& args, const WorkItem& item) {
  return args.sinks != nullptr && item.first_part != 0;
}

// A row's sink in units of log2.
TESSERA_HOST_DEVICE float SinkOfRow(const KernelArgs& args, const WorkItem& item, int32_t row) {
  return args.sinks[item.kv_head * args.group + (item.row_begin + row) % args.group] * kLog2e;
}

// What is added to a row's scores.
struct RowBias {
  int32_t position;    // of the row
  float slope;         // ALiBi's; 0: none
  const float* table;  // [query_len], for the keys that are the request's new tokens; or null
  int32_t first_key;   // of the table
  int32_t num_keys;
};

TESSERA_HOST_DEVICE RowBias BiasOfRow(const KernelArgs& args, const WorkItem& item,
                                      const ItemRows& rows, int32_t row) {
  const int32_t packed = item.row_begin + row;
  const int32_t token = packed / args.group;
  const int32_t head = item.kv_head * args.group + packed % args.group;
  const bool exists = row < item.row_count;  // tiles may hold more rows than the item
  return {
      rows.context_len + token,
      args.alibi_slopes != nullptr && exists ? args.alibi_slopes[head] : 0.0f,
      args.query_query_bias != nullptr && exists
          ? args.query_query_bias + item.seq * args.bias_seq_stride + token * args.bias_row_stride
          : nullptr,
      rows.context_len, rows.query_len};
}

}  // namespace tessera::kernel
