// What the attention kernel reads: plain data that crosses to a device as it is.
#pragma once

#include <cstdint>

namespace tessera::kernel {

// One piece of work: some query rows of one request under one KV head, over a range of its keys.
//
// Rows are packed by group: packed row r of a request is token r / group, query head kv_head *
// group + r % group, so that all query heads of a KV head share each key that is loaded (GQA
// packing).
struct WorkItem {
  int32_t seq = 0;
  int32_t kv_head = 0;
  int32_t row_begin = 0;  // packed rows
  int32_t row_count = 0;
  int32_t key_begin = 0;
  int32_t key_end = 0;
  int64_t partial_row =
      -1;  // first row of this item in the partial buffers; -1: the item is the whole key range
};

// Partial results of one set of rows, to be merged by their lse.
struct MergeItem {
  int32_t seq = 0;
  int32_t kv_head = 0;
  int32_t row_begin = 0;
  int32_t row_count = 0;
  int64_t partial_row = 0;  // of the first part; part p begins at partial_row + p * row_count
  int32_t parts = 0;
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

  // K of (block, head, token) begins at keys + KOffset, its V at values + KOffset; strides in
  // elements.
  const void* keys = nullptr;
  const void* values = nullptr;
  int64_t block_stride = 0;
  int64_t kv_head_stride = 0;
  int64_t token_stride = 0;

  const int32_t* query_start_loc = nullptr;  // [num_seqs + 1]
  const int32_t* seq_lens = nullptr;         // [num_seqs]
  const int32_t* block_table = nullptr;      // [num_seqs, block_table_stride]
  int64_t block_table_stride = 0;
  int32_t block_size = 0;

  int32_t num_heads = 0;
  int32_t group = 0;  // query heads of one KV head
  int32_t head_size = 0;
  int32_t value_size = 0;

  float scale = 0;           // multiplies q . k
  float soft_cap = 0;        // 0: off
  int32_t causal = 0;        // 0: every row sees all keys (inside its window)
  int32_t window_left = -1;  // keys to the left and right of a row's own position; -1: no limit
  int32_t window_right = -1;

  uint8_t query_dtype = 0;  // DType, for kernels that convert at run time
  uint8_t output_dtype = 0;
};

}  // namespace tessera::kernel
