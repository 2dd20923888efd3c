#include "attention/kernel/cpu/wide_memory.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "tessera/dtype.h"

namespace tessera::kernel {

namespace {

constexpr float kLn2 = 0.69314718055994530942f;

int64_t Floats(int32_t head_size, int32_t value_size) {
  const int64_t query_stride = WideMemory::Padded(head_size);
  const int64_t value_stride = WideMemory::Padded(value_size);
  return WideMemory::kMaxRows * (query_stride + value_stride + WideMemory::kMaxKeys) +
         WideMemory::kMaxKeys * (query_stride + value_stride);
}

}  // namespace

int64_t WideMemory::Bytes(int32_t head_size, int32_t value_size) {
  return Floats(head_size, value_size) * static_cast<int64_t>(sizeof(float));
}

int32_t WideMemory::MaxRows(int32_t head_size, int32_t value_size) {
  return head_size + value_size <= 512 ? kMaxRows : kMaxRows / 2;
}

WideMemory::WideMemory(const KernelArgs& kernel_args, const WorkItem& work_item, void* memory)
    : args(kernel_args),
      item(work_item),
      query_stride(Padded(kernel_args.head_size)),
      value_stride(Padded(kernel_args.value_size)) {
  query = static_cast<float*>(memory);
  output = query + int64_t{kMaxRows} * query_stride;
  scores = output + int64_t{kMaxRows} * value_stride;
  keys = scores + int64_t{kMaxRows} * kMaxKeys;
  values = keys + int64_t{kMaxKeys} * query_stride;
}

void WideMemory::LoadQuery(float factor) {
  const DType dtype = static_cast<DType>(args.query_dtype);
  const int64_t element_size = static_cast<int64_t>(SizeOf(dtype));
  const int64_t first_token = RowsOf(args, item).first_token;
  for (int32_t r = 0; r < item.row_count; ++r) {
    const int64_t token = first_token + (item.row_begin + r) / args.group;
    const int64_t head = int64_t{item.kv_head} * args.group + (item.row_begin + r) % args.group;
    const int64_t offset = token * args.query_token_stride + head * args.query_head_stride;
    float* row = query + int64_t{r} * query_stride;
    ConvertToFloat(dtype, static_cast<const char*>(args.query) + offset * element_size,
                   args.head_size, row);
    for (int32_t d = 0; d < args.head_size; ++d) row[d] *= factor;
    for (int32_t d = args.head_size; d < query_stride; ++d) row[d] = 0.0f;
  }
}

void WideMemory::FindPages(int32_t first, int32_t key_count, int64_t element_size) {
  if (first == next_first_ && key_count == next_count) {
    std::swap(key_rows, next_key_rows);
    std::swap(value_rows, next_value_rows);
  } else {
    WalkPages(first, key_count, element_size, key_rows, value_rows);
  }
  count = key_count;
  next_first_ = first + key_count;
  next_count = std::min(key_count, item.key_end - next_first_);
  if (next_count > 0) {
    WalkPages(next_first_, next_count, element_size, next_key_rows, next_value_rows);
  }
  if (args.key_scale_offset == 0) return;
  const int64_t value_offset = args.value_scale_offset - args.key_scale_offset;
  for (int32_t k = 0; k < count; ++k) {
    const char* scale = static_cast<const char*>(key_rows[k]) + args.key_scale_offset;
    std::memcpy(&key_scales[k], scale, sizeof(float));
    std::memcpy(&value_scales[k], scale + value_offset, sizeof(float));
  }
}

void WideMemory::WalkPages(int32_t first, int32_t key_count, int64_t element_size,
                           const void** k_rows, const void** v_rows) const {
  const char* k = static_cast<const char*>(args.keys);
  const char* v = static_cast<const char*>(args.values);
  int32_t i = 0;
  while (i < key_count) {
    const KeyPlace place = PlaceOfKey(args, item, first + i);
    const int32_t run =
        args.block_table == nullptr
            ? key_count
            : std::min(args.block_size - (first + i) % args.block_size, key_count - i);
    const char* key = k + place.key * element_size;
    const char* value = v + place.value * element_size;
    for (int32_t j = 0; j < run; ++j, ++i) {
      k_rows[i] = key;
      v_rows[i] = value;
      key += args.key_token_stride * element_size;
      value += args.value_token_stride * element_size;
    }
  }
}

void WideMemory::Finish(const float* maximum, const float* sum, float scale) {
  const DType dtype = static_cast<DType>(args.output_dtype);
  const int64_t element_size = static_cast<int64_t>(SizeOf(dtype));
  const int64_t first_token = RowsOf(args, item).first_token;
  for (int32_t r = 0; r < item.row_count; ++r) {
    float* row = output + int64_t{r} * value_stride;
    const bool saw_key = sum[r] != 0.0f;  // NaN in the input stays visible
    const float inverse = saw_key ? scale / sum[r] : 0.0f;
    for (int32_t d = 0; d < args.value_size; ++d) row[d] = saw_key ? row[d] * inverse : 0.0f;
    const float lse =
        saw_key ? (maximum[r] + std::log2(sum[r])) * kLn2 : -std::numeric_limits<float>::infinity();
    if (item.partial_row >= 0) {
      const int64_t partial = item.partial_row + r;
      std::memcpy(args.partial_output + partial * args.value_size, row,
                  sizeof(float) * static_cast<size_t>(args.value_size));
      args.partial_lse[partial] = lse;
      continue;
    }
    if (args.inverse_output_scale != 1.0f) {
      for (int32_t d = 0; d < args.value_size; ++d) row[d] *= args.inverse_output_scale;
    }
    const int64_t token = first_token + (item.row_begin + r) / args.group;
    const int64_t head = int64_t{item.kv_head} * args.group + (item.row_begin + r) % args.group;
    const int64_t offset = token * args.output_token_stride + head * args.output_head_stride;
    ConvertFromFloat(dtype, row, args.value_size,
                     static_cast<char*>(args.output) + offset * element_size);
    if (args.lse != nullptr) args.lse[token * args.num_heads + head] = lse;
  }
}

}  // namespace tessera::kernel
