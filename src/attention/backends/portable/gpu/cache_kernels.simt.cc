// What stands around the attention: the merge of partial results, and the writing of new keys and
// values, as attention/cache_ops.cc defines it.
#include "attention/backends/portable/gpu/kernel_args.h"
#include "attention/kernel/gpu/lane_elements.h"
#include "attention/kernel/gpu/merge_simt.h"
#include "device/gpu/simt.h"

namespace tessera::kernel::lanes {

struct WriteMemory {
  float largest[kWriteThreads];
};

SIMT_DEVICE float LoadNewElement(DType type, const void* data, int64_t index) {
  if (type == DType::kFloat32) return static_cast<const float*>(data)[index];
  const uint16_t bits = static_cast<const uint16_t*>(data)[index];
  if (type == DType::kBFloat16) return simt::FromBits(static_cast<uint32_t>(bits) << 16);
  // Float16: its magnitude as that of a float32 with a smaller exponent; infinity and NaN as they
  // are.
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(bits & 0x7fffu) << 13;
  if (magnitude >= 0x0f800000u) return simt::FromBits(sign | magnitude | 0x70000000u);
  return simt::FromBits(sign | simt::Bits(simt::FromBits(magnitude) * 0x1p112f));
}

SIMT_DEVICE void StoreCacheElement(DType type, void* data, int64_t index, float value) {
  if (type != DType::kInt8) return StoreElement(type, data, index, value);
  // Adding 3 * 2^22 rounds to the nearest integer, ties to even, which then is the low byte.
  const float clamped = value > 127.0f ? 127.0f : value < -128.0f ? -128.0f : value;
  const float number = clamped == clamped ? clamped : 0.0f;
  static_cast<uint8_t*>(data)[index] =
      static_cast<uint8_t>(simt::Bits(number + 12582912.0f) & 0xffu);
}

SIMT_DEVICE float LargestOf(DType type) {
  return type == DType::kE4M3FN     ? 448.0f
         : type == DType::kE4M3FNUZ ? 240.0f
         : type == DType::kE5M2     ? 57344.0f
                                    : 127.0f;
}

// A token's K or V under one head.
struct NewRow {
  const void* source;
  int64_t first;  // element of the source
  int32_t count;
  int64_t place;       // element of the cache
  const float* scale;  // of the head; null: none
  // Where the row's own float32 is kept, which is then chosen, at any address; null: none.
  uint8_t* own_scale;
};

// The largest magnitude of a row, for every thread of the block; NaN is none.
SIMT_DEVICE float LargestOfRow(const NewRow& row, DType type, WriteMemory* memory) {
  float largest = 0.0f;
  for (int i = simt::Thread(); i < row.count; i += kWriteThreads) {
    const float value = LoadNewElement(type, row.source, row.first + i);
    const float magnitude = value < 0.0f ? -value : value;
    if (magnitude > largest) largest = magnitude;
  }
  simt::Sync();  // the last row's numbers have been read
  memory->largest[simt::Thread()] = largest;
  simt::Sync();
  for (int i = 0; i < kWriteThreads; ++i) {
    if (memory->largest[i] > largest) largest = memory->largest[i];
  }
  return largest;
}

SIMT_DEVICE void WriteRow(const WriteKernelArgs& args, const NewRow& row, WriteMemory* memory) {
  const auto from = static_cast<DType>(args.new_dtype), to = static_cast<DType>(args.cache_dtype);
  float scale = row.scale != nullptr ? *row.scale : 1.0f;
  if (row.own_scale != nullptr) {
    const float largest = LargestOfRow(row, from, memory);
    // A smaller scale could be 0, and 0 / 0 no number.
    constexpr float kSmallestScale = 0x1p-100f, kInfinity = __builtin_inff();
    scale = largest / LargestOf(to);
    if (scale < kSmallestScale) scale = kSmallestScale;
    if (!(largest > 0.0f && largest < kInfinity)) scale = 1.0f;
    if (simt::Thread() < 4) {
      row.own_scale[simt::Thread()] = static_cast<uint8_t>(simt::Bits(scale) >> 8 * simt::Thread());
    }
  }
  // Rows may begin anywhere, so elements are copied one by one; bit for bit, where the types agree.
  for (int i = simt::Thread(); i < row.count; i += kWriteThreads) {
    const int64_t source = row.first + i, place = row.place + i;
    if (from != to) {
      const float value = LoadNewElement(from, row.source, source);
      StoreCacheElement(to, args.cache, place, scale == 1.0f ? value : value / scale);
    } else if (IsByte(to)) {
      static_cast<uint8_t*>(args.cache)[place] = static_cast<const uint8_t*>(row.source)[source];
    } else {
      static_cast<uint16_t*>(args.cache)[place] = static_cast<const uint16_t*>(row.source)[source];
    }
  }
}

SIMT_KERNEL(write_kv, WriteKernelArgs, kWriteThreads, 1) {
  WriteMemory* const memory = simt::SharedMemory<WriteMemory>();
  const int64_t token = simt::Block() / args.num_kv_heads;
  const int64_t head = simt::Block() % args.num_kv_heads;
  if (token >= args.query_start_loc[args.num_seqs]) return;
  const int64_t slot = args.slot_mapping[token];
  if (slot < 0) return;
  const int64_t place = slot / args.block_size * args.block_stride + head * args.head_stride +
                        slot % args.block_size * args.token_stride;
  const bool own = args.key_scale_offset != 0;
  // Only caches of bytes have scales of their own, so that elements are bytes there.
  auto* const scales = static_cast<uint8_t*>(args.cache) + place;
  WriteRow(
      args,
      {args.key, token * args.key_token_stride + head * args.key_head_stride, args.key_size, place,
       args.key_scales != nullptr ? args.key_scales + head * args.scale_head_stride : nullptr,
       own ? scales + args.key_scale_offset : nullptr},
      memory);
  if (args.value_offset == 0) return;
  WriteRow(
      args,
      {args.value, token * args.value_token_stride + head * args.value_head_stride, args.value_size,
       place + args.value_offset,
       args.value_scales != nullptr ? args.value_scales + head * args.scale_head_stride : nullptr,
       own ? scales + args.value_scale_offset : nullptr},
      memory);
}

SIMT_KERNEL(merge, MergeKernelArgs, kMergeThreads, 1) {
  simt::LetNextBegin();
  MergeBlock(args.args, args.merges, kBlocksPerMerge, kMergeThreads);
}

SIMT_KERNELS(SIMT_ENTRY(write_kv), SIMT_ENTRY(merge));

}  // namespace tessera::kernel::lanes
