// What the portable backend's GPU kernels are given: one struct each.
#pragma once

#include <cstdint>

#include "attention/kernel/kernel_args.h"

namespace tessera::kernel {

struct AttentionKernelArgs {
  KernelArgs args;
  const WorkItem* items = nullptr;  // one for each block
};

constexpr int32_t kMergeThreads = 128;
constexpr int32_t kBlocksPerMerge = 4;

struct MergeKernelArgs {
  KernelArgs args;
  const MergeItem* merges = nullptr;  // one for kBlocksPerMerge blocks
};

constexpr int32_t kWriteThreads = 64;

// One block writes one new token's K and V under one head.
struct WriteKernelArgs {
  const void* key = nullptr;  // strides in elements
  const void* value = nullptr;
  int64_t key_token_stride = 0;
  int64_t key_head_stride = 0;
  int64_t value_token_stride = 0;
  int64_t value_head_stride = 0;

  const int32_t* query_start_loc = nullptr;  // the last entry: new tokens
  const int64_t* slot_mapping = nullptr;
  int32_t num_seqs = 0;
  int32_t num_kv_heads = 0;

  void* cache = nullptr;  // strides in elements
  int64_t block_stride = 0;
  int64_t head_stride = 0;
  int64_t token_stride = 0;
  int64_t value_offset = 0;  // 0: V is the beginning of K
  int32_t block_size = 0;
  int32_t key_size = 0;
  int32_t value_size = 0;

  const float* key_scales = nullptr;  // by KV head (stride 0: one for all); null: none
  const float* value_scales = nullptr;
  int32_t scale_head_stride = 0;
  // Bytes from the token's K to scales of its own, which are then chosen; 0: none.
  int64_t key_scale_offset = 0;
  int64_t value_scale_offset = 0;

  uint8_t new_dtype = 0;  // DType
  uint8_t cache_dtype = 0;
};

}  // namespace tessera::kernel
