// The memory of a CPU core's tiles, and what needs no vector instruction: reading query rows,
// finding keys and values, writing results.
//
// A core is a wave of one very wide lane: its fragments are small arrays that stay in the L1 and L2
// caches.
#pragma once

#include <cstdint>

#include "attention/kernel/cpu/cpu_rows.h"
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

  // Finds the keys of the step that begins where `left` keys of the item are left, for Deposit():
  // none if that is none. Steps have `step` keys and follow each other; `element_size` is the
  // cache's, in bytes.
  void Fetch(int32_t left, int32_t step, int64_t element_size);

  // The step that was fetched last becomes the current one.
  void Deposit();

  // Writes output[row] * OutputFactor(sum[row], scale), and the lse.
  void Finish(const float* maximum, const float* sum, float scale);

  const CpuRows rows;
  const KernelArgs& args;
  int32_t query_stride;  // floats
  int32_t value_stride;  // floats

  float* query;   // [kMaxRows, query_stride]
  float* output;  // [kMaxRows, value_stride]
  float* scores;  // [kMaxRows, kMaxKeys]
  float* keys;    // [query_stride, kMaxKeys]: K transposed, as float32
  float* values;  // [kMaxKeys, value_stride]: V as float32, if it is staged

  const char** key_rows = found_[0];  // [count]
  const char** value_rows = found_[1];
  int32_t count = 0;  // keys of the current step
  // [kMaxKeys]: each key's own scales, if the cache has such; past `count` numbers.
  alignas(64) float key_scales[kMaxKeys] = {};
  alignas(64) float value_scales[kMaxKeys] = {};
  const char** next_key_rows = found_[2];  // [next_count], for prefetching
  const char** next_value_rows = found_[3];
  int32_t next_count = 0;

 private:
  const char* found_[4][kMaxKeys];
};

}  // namespace tessera::kernel
