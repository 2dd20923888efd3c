#include "attention/backends/x86/item_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "tessera/dtype.h"

namespace tessera::x86 {

using kernel::KeyRange;

ItemRows::ItemRows(const kernel::KernelArgs& kernel_args, const kernel::WorkItem& work_item)
    : args(kernel_args),
      item(work_item),
      first_token(args.query_start_loc[item.seq]),
      context_len(args.seq_lens[item.seq] - (args.query_start_loc[item.seq + 1] - first_token)),
      seq_len(args.seq_lens[item.seq]) {}

KeyRange ItemRows::Visible(int32_t row) const {
  const KeyRange range =
      kernel::VisibleKeys((item.row_begin + row) / args.group, context_len, seq_len, args.causal,
                          args.window_left, args.window_right);
  return {std::max(range.begin, item.key_begin), std::min(range.end, item.key_end)};
}

void ItemRows::LoadQuery(int32_t row, float* query) const {
  const DType dtype = static_cast<DType>(args.query_dtype);
  const int64_t token = int64_t{first_token} + (item.row_begin + row) / args.group;
  const int64_t head = int64_t{item.kv_head} * args.group + (item.row_begin + row) % args.group;
  const int64_t offset = token * args.query_token_stride + head * args.query_head_stride;
  ConvertToFloat(
      dtype, static_cast<const char*>(args.query) + offset * static_cast<int64_t>(SizeOf(dtype)),
      args.head_size, query);
  if (args.scale < 0) {
    for (int32_t i = 0; i < args.head_size; ++i) query[i] = -query[i];
  }
}

void ItemRows::FindKeys(int32_t first, int32_t count, int64_t element_size, const char** keys,
                        const char** values) const {
  const int32_t* table = args.block_table + item.seq * args.block_table_stride;
  const char* k = static_cast<const char*>(args.keys);
  const char* v = static_cast<const char*>(args.values);
  int32_t block = first / args.block_size;
  int32_t in_block = first % args.block_size;
  for (int32_t i = 0; i < count; ++block, in_block = 0) {
    const int32_t end = std::min(count, i + args.block_size - in_block);
    int64_t offset = (table[block] * args.block_stride + item.kv_head * args.kv_head_stride +
                      in_block * args.token_stride) *
                     element_size;
    for (; i < end; ++i, offset += args.token_stride * element_size) {
      keys[i] = k + offset;
      values[i] = v + offset;
    }
  }
}

void ItemRows::Store(int32_t row, const float* row_output, float maximum_log2, float sum) const {
  constexpr float kLn2 = 0.69314718055994530942f;
  const float lse = sum != 0.0f ? (maximum_log2 + std::log2(sum)) * kLn2
                                : -std::numeric_limits<float>::infinity();
  if (item.partial_row >= 0) {
    const int64_t partial = item.partial_row + row;
    std::memcpy(args.partial_output + partial * args.value_size, row_output,
                sizeof(float) * static_cast<size_t>(args.value_size));
    args.partial_lse[partial] = lse;
    return;
  }
  const DType dtype = static_cast<DType>(args.output_dtype);
  const int64_t token = int64_t{first_token} + (item.row_begin + row) / args.group;
  const int64_t head = int64_t{item.kv_head} * args.group + (item.row_begin + row) % args.group;
  const int64_t offset = token * args.output_token_stride + head * args.output_head_stride;
  ConvertFromFloat(dtype, row_output, args.value_size,
                   static_cast<char*>(args.output) + offset * static_cast<int64_t>(SizeOf(dtype)));
  if (args.lse != nullptr) args.lse[token * args.num_heads + head] = lse;
}

}  // namespace tessera::x86
