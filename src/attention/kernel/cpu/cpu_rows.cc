#include "attention/kernel/cpu/cpu_rows.h"

#include <algorithm>
#include <cstring>

namespace tessera::kernel {

const char* CpuRows::Query(int32_t row) const {
  const int64_t offset = QueryOffset(args, PlaceOfRow(args, item, row));
  return static_cast<const char*>(args.query) +
         offset * static_cast<int64_t>(SizeOf(static_cast<DType>(args.query_dtype)));
}

void CpuRows::FindKeys(int32_t first, int32_t count, int64_t element_size, const char** keys,
                       const char** values) const {
  for (int32_t i = 0; i < count;) {
    // Keys of a block are a token stride apart; those of encoders lie in no blocks.
    const KeyPlace place = PlaceOfKey(args, item, first + i);
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

void CpuRows::ReadScales(const char* const* keys, int32_t count, float* key_scales,
                         float* value_scales) const {
  for (int32_t k = 0; k < count; ++k) {
    std::memcpy(key_scales + k, keys[k] + args.key_scale_offset, sizeof(float));
    std::memcpy(value_scales + k, keys[k] + args.value_scale_offset, sizeof(float));
  }
}

CpuRows::Target CpuRows::Output(int32_t row) const {
  if (item.partial_row >= 0) {
    float* partial = args.partial_output + (item.partial_row + row) * args.value_size;
    return {DType::kFloat32, reinterpret_cast<char*>(partial), 1.0f};
  }
  const DType dtype = static_cast<DType>(args.output_dtype);
  const int64_t offset = OutputOffset(args, PlaceOfRow(args, item, row));
  return {dtype, static_cast<char*>(args.output) + offset * static_cast<int64_t>(SizeOf(dtype)),
          args.inverse_output_scale};
}

void CpuRows::StoreLse(int32_t row, float maximum_log2, float sum) const {
  const float lse = scalar::Lse<ScalarOps>(maximum_log2 * kLn2, sum);
  if (item.partial_row >= 0) {
    args.partial_lse[item.partial_row + row] = lse;
  } else if (args.lse != nullptr) {
    args.lse[LseOffset(args, PlaceOfRow(args, item, row))] = lse;
  }
}

}  // namespace tessera::kernel
