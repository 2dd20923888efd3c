// What the attention kernel reads: plain data that crosses to a device as it is.
#pragma once

#include <cstdint>

#include "attention/kernel/key_range.h"

namespace tessera::kernel {

// One piece of work: some query rows of one request under one KV head, over a range of its keys.
//
// Rows are packed by group: packed row r of a request is token r / group, query head kv_head *
// group + r % group, so that all query heads of a KV head share each key that is loaded (GQA
// packing).
struct WorkItem {
  int32_t seq = 0;  // whose row of the block table is read
  int32_t kv_head = 0;
  int32_t row_begin = 0;  // packed rows
  int32_t row_count = 0;
  int32_t key_begin = 0;
  int32_t key_end = 0;
  // First row of this item in the partial buffers; -1: the item is the whole key range.
  int64_t partial_row = -1;
  int32_t first_part = 1;  // of its rows' key range: the one that counts the sinks
  // Cascade: packed rows count from the step's first token instead of the request's, they belong to
  // any of its requests, and all of them see all keys of the item.
  int32_t shared_prefix = 0;
};

// Partial results of one set of rows, to be merged by their lse.
struct MergeItem {
  int32_t seq = 0;
  int32_t kv_head = 0;
  int32_t row_begin = 0;
  int32_t row_count = 0;
  int64_t partial_row = 0;  // of the first part; part p begins at partial_row + p * row_count
  int32_t parts = 0;
  // Parts of the cascade's shared prefix: part p begins at shared_row + p * shared_stride.
  int64_t shared_row = -1;
  int64_t shared_stride = 0;
  int32_t shared_parts = 0;
};

struct KernelArgs {
  // [num_tokens, num_heads, head_size], strides in elements.
  const void* query = nullptr;
  int64_t query_token_stride = 0;
  int64_t query_head_stride = 0;

  // [num_tokens, num_heads, value_size].
  void* output = nullptr;
  int64_t output_token_stride = 0;
  int64_t output_head_stride = 0;
  float* lse = nullptr;  // [num_tokens, num_heads] or null

  // Partial results of split key ranges: [rows, value_size] and [rows].
  float* partial_output = nullptr;
  float* partial_lse = nullptr;

  // Strides in elements. Without a block table (encoders) the keys of a request are the rows from
  // query_start_loc[seq] on.
  const void* keys = nullptr;
  const void* values = nullptr;
  int64_t block_stride = 0;  // of keys and values alike
  int64_t key_head_stride = 0;
  int64_t key_token_stride = 0;
  int64_t value_head_stride = 0;
  int64_t value_token_stride = 0;

  const int32_t* query_start_loc = nullptr;  // [num_seqs + 1]
  const int32_t* seq_lens = nullptr;         // [num_seqs]
  const int32_t* block_table = nullptr;      // [num_seqs, block_table_stride] or null
  int64_t block_table_stride = 0;
  int32_t block_size = 0;

  int32_t num_heads = 0;
  int32_t group = 0;  // query heads of one KV head
  int32_t head_size = 0;
  int32_t value_size = 0;

  float scale = 0;     // multiplies q . k
  float soft_cap = 0;  // 0: off
  MaskRule mask;

  const float* alibi_slopes = nullptr;  // [num_heads] or null
  int32_t alibi_sqrt = 0;
  const float* sinks = nullptr;             // [num_heads] or null
  const float* query_query_bias = nullptr;  // or null
  int64_t bias_seq_stride = 0;
  int64_t bias_row_stride = 0;

  // Of a quantised cache, by KV head (stride 0: one for all); null: 1.
  const float* key_scales = nullptr;
  const float* value_scales = nullptr;
  int64_t scale_head_stride = 0;
  // Scales by token and head, float32: bytes from the token's first element of K to that of its K
  // and of its V; 0: none.
  int64_t key_scale_offset = 0;
  int64_t value_scale_offset = 0;
  float inverse_output_scale = 1.0f;

  uint8_t query_dtype = 0;  // DType, for kernels that convert at run time
  uint8_t output_dtype = 0;
};

// A key's block, and its place in that: what has to be looked up.
struct KeyInBlock {
  int32_t block;
  int32_t token;
};

TESSERA_HOST_DEVICE KeyInBlock FindKey(const KernelArgs& args, const WorkItem& item, int32_t key) {
  if (args.block_table == nullptr) return {0, args.query_start_loc[item.seq] + key};
  return {args.block_table[item.seq * args.block_table_stride + key / args.block_size],
          key % args.block_size};
}

// Where a key lies, in elements.
struct alignas(16) KeyPlace {
  int64_t key;
  int64_t value;
};

TESSERA_HOST_DEVICE KeyPlace PlaceOf(const KernelArgs& args, const WorkItem& item,
                                     const KeyInBlock& found) {
  const int64_t block = found.block * args.block_stride;
  return {block + item.kv_head * args.key_head_stride + found.token * args.key_token_stride,
          block + item.kv_head * args.value_head_stride + found.token * args.value_token_stride};
}

TESSERA_HOST_DEVICE KeyPlace PlaceOfKey(const KernelArgs& args, const WorkItem& item, int32_t key) {
  return PlaceOf(args, item, FindKey(args, item, key));
}

}  // namespace tessera::kernel
