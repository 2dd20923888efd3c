// The memory of a CPU core's tiles, and what needs no vector instruction: fetching query rows,
// walking pages, writing results.
//
// A core is a wave of one very wide lane: its fragments are small arrays that stay in the L1 and L2
// caches.
#pragma once

#include <cstdint>

#include "attention/kernel/kernel_args.h"

namespace tessera::kernel {

class WideMemory {
 public:
  static constexpr int32_t kMaxRows = 64;
  static constexpr int32_t kMaxKeys = 64;
  static constexpr int32_t kPad =
      16;  // rows are padded with zeros to a multiple of this many floats

  static constexpr int32_t Padded(int32_t size) { return (size + kPad - 1) / kPad * kPad; }

  // Bytes that a worker needs for heads of these sizes; the memory must be aligned to 64 bytes.
  static int64_t Bytes(int32_t head_size, int32_t value_size);

  // The largest number of rows an item may have, so that the tiles stay in the L2 cache.
  static int32_t MaxRows(int32_t head_size, int32_t value_size);

  // `memory` holds Bytes(args.head_size, args.value_size).
  WideMemory(const KernelArgs& args, const WorkItem& item, void* memory);

  // query[row][0..head_size) = Q * factor as float32, padding 0.
  void LoadQuery(float factor);

  // Points key_rows and value_rows at `key_count` keys from `first` on, and the next_ ones at those
  // that follow inside the item (for prefetching); `element_size` is the cache's, in bytes. Steps
  // are taken in order.
  void FindPages(int32_t first, int32_t key_count, int64_t element_size);

  // Writes output[row] * scale / sum[row] with lse = (maximum[row] + log2 sum[row]) * ln 2; a sum
  // of 0 gives 0 and -infinity.
  void Finish(const float* maximum, const float* sum, float scale);

  const KernelArgs& args;
  const WorkItem& item;
  int32_t query_stride;  // floats
  int32_t value_stride;  // floats

  float* query;   // [kMaxRows, query_stride]
  float* output;  // [kMaxRows, value_stride]
  float* scores;  // [kMaxRows, kMaxKeys]
  float* keys;    // [query_stride, kMaxKeys]: K transposed, as float32
  float* values;  // [kMaxKeys, value_stride]: V as float32, where it is staged

  const void** key_rows = rows_[0];  // [count]
  const void** value_rows = rows_[1];
  int32_t count = 0;  // keys of the current step
  // [kMaxKeys]: each key's own scales, where the cache has such; past `count` numbers.
  alignas(64) float key_scales[kMaxKeys] = {};
  alignas(64) float value_scales[kMaxKeys] = {};
  const void** next_key_rows = rows_[2];  // [next_count]
  const void** next_value_rows = rows_[3];
  int32_t next_count = 0;

 private:
  void WalkPages(int32_t first, int32_t key_count, int64_t element_size, const void** k_rows,
                 const void** v_rows) const;

  const void* rows_[4][kMaxKeys];
  int32_t next_first_ = -1;
};

}  // namespace tessera::kernel
