#include "attention/backends/x86/item_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace tessera::x86 {

using kernel::KeyRange;

ItemRows::ItemRows(const kernel::KernelArgs& kernel_args, const kernel::WorkItem& work_item)
    : args(kernel_args),
      item(work_item),
      rows_(kernel::RowsOf(kernel_args, work_item)),
      scale_(kernel_args.scale * HeadScale(kernel_args.key_scales)) {}

ItemRows::Place ItemRows::PlaceOf(int32_t row) const {
  const int32_t packed = item.row_begin + row;
  return {int64_t{rows_.first_token} + packed / args.group,
          int64_t{item.kv_head} * args.group + packed % args.group};
}

KeyRange ItemRows::Visible(int32_t row) const {
  if (item.shared_prefix != 0) return {item.key_begin, item.key_end};
  const KeyRange range = kernel::VisibleKeys(
      args.mask, item.seq, (item.row_begin + row) / args.group, rows_.context_len, rows_.seq_len);
  return {std::max(range.begin, item.key_begin), std::min(range.end, item.key_end)};
}

float ItemRows::SinkLog2(int32_t row) const {
  if (args.sinks == nullptr || item.first_part == 0) return -std::numeric_limits<float>::infinity();
  return args.sinks[PlaceOf(row).head] * 1.44269504088896340736f;
}

const char* ItemRows::Query(int32_t row) const {
  const Place place = PlaceOf(row);
  const int64_t offset =
      place.token * args.query_token_stride + place.head * args.query_head_stride;
  return static_cast<const char*>(args.query) +
         offset * static_cast<int64_t>(SizeOf(static_cast<DType>(args.query_dtype)));
}

void ItemRows::FindKeys(int32_t first, int32_t count, int64_t element_size, const char** keys,
                        const char** values) const {
  for (int32_t i = 0; i < count;) {
    // Keys of a block are a token stride apart; those of encoders lie in no blocks.
    const kernel::KeyPlace place = kernel::PlaceOfKey(args, item, first + i);
    const int32_t end = args.block_table == nullptr
                            ? count
                            : std::min(count, i + args.block_size - (first + i) % args.block_size);
    const char* key = static_cast<const char*>(args.keys) + place.key * element_size;
    const char* value = static_cast<const char*>(args.values) + place.value * element_size;
    for (; i < end; ++i) {
      keys[i] = key;
      values[i] = value;
      key += args.key_token_stride * element_size;
      value += args.value_token_stride * element_size;
    }
  }
}

void ItemRows::ReadScales(const char* const* keys, int32_t count, float* key_scales,
                          float* value_scales) const {
  for (int32_t k = 0; k < count; ++k) {
    std::memcpy(key_scales + k, keys[k] + args.key_scale_offset, sizeof(float));
    std::memcpy(value_scales + k, keys[k] + args.value_scale_offset, sizeof(float));
  }
}

ItemRows::Bias ItemRows::BiasOf(int32_t row) const {
  const int32_t token = (item.row_begin + row) / args.group;
  return {
      args.alibi_slopes != nullptr ? args.alibi_slopes[PlaceOf(row).head] : 0.0f,
      rows_.context_len + token,
      args.query_query_bias != nullptr
          ? args.query_query_bias + item.seq * args.bias_seq_stride + token * args.bias_row_stride
          : nullptr,
      rows_.context_len, rows_.context_len + rows_.query_len};
}

ItemRows::Target ItemRows::Output(int32_t row) const {
  const float factor = HeadScale(args.value_scales);
  if (item.partial_row >= 0) {
    float* partial = args.partial_output + (item.partial_row + row) * args.value_size;
    return {DType::kFloat32, reinterpret_cast<char*>(partial), factor};
  }
  const DType dtype = static_cast<DType>(args.output_dtype);
  const Place place = PlaceOf(row);
  const int64_t offset =
      place.token * args.output_token_stride + place.head * args.output_head_stride;
  return {dtype, static_cast<char*>(args.output) + offset * static_cast<int64_t>(SizeOf(dtype)),
          factor * args.inverse_output_scale};
}

void ItemRows::StoreLse(int32_t row, float maximum_log2, float sum) const {
  constexpr float kLn2 = 0.69314718055994530942f;
  const float lse = sum != 0.0f ? (maximum_log2 + std::log2(sum)) * kLn2
                                : -std::numeric_limits<float>::infinity();
  if (item.partial_row >= 0) {
    args.partial_lse[item.partial_row + row] = lse;
  } else if (args.lse != nullptr) {
    const Place place = PlaceOf(row);
    args.lse[place.token * args.num_heads + place.head] = lse;
  }
}

}  // namespace tessera::x86
