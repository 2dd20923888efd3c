// AttentionBatch: one step's requests, in the form that vLLM's CommonAttentionMetadata established.
// A view of arrays that the caller keeps alive until the step's last Run() is done.
//
// Request i owns the query rows query_start_loc[i] .. query_start_loc[i+1]-1 of the step's
// [num_tokens, ...] tensors. Its keys are the tokens 0 .. seq_lens[i]-1 of its pages; query_len =
// the number of its rows, context_len = seq_len - query_len. Prefill, extension (rows after cached
// context), decode (one row) and requests without rows mix freely.
#pragma once

#include <cstdint>

#include "tessera/attention_spec.h"
#include "tessera/kv_cache.h"
#include "tessera/result.h"

namespace tessera {

struct BatchArrays {
  const int32_t* query_start_loc = nullptr;  // [num_seqs + 1], ascending, first 0
  const int32_t* seq_lens = nullptr;         // [num_seqs], context included
  // [num_seqs, block_table_stride]; entries past a sequence's end are never read.
  const int32_t* block_table = nullptr;
  // [num_tokens]: block * block_size + token where each new row is kept; -1: nowhere.
  const int64_t* slot_mapping = nullptr;

  // With Causality::kPerRequest: [num_seqs], nonzero where the request is causal.
  const uint8_t* causal = nullptr;

  // With spec.prefix_ranges: [num_seqs, max_prefix_ranges, 2], the first position of a span and the
  // one past its last; empty spans are unused. Positions of one span see each other whatever
  // causality, windows and chunks say.
  const int32_t* prefix_ranges = nullptr;
};

struct AttentionBatch {
  int32_t num_seqs = 0;
  // Query rows; query_start_loc[num_seqs] <= num_tokens (the rest is padding).
  int32_t num_tokens = 0;
  int32_t max_query_len = 0;
  int32_t max_seq_len = 0;
  int64_t block_table_stride = 0;
  int32_t max_prefix_ranges = 0;

  // The requests' first so many tokens are the same blocks (a shared system prompt). A hint:
  // backends may then compute that part of the attention once for all rows (cascade). At most what
  // every request has before its new tokens, by the device's seq_lens.
  int32_t common_prefix_len = 0;

  // For planning. seq_lens may be upper bounds: kernels clip by the device's. slot_mapping may be
  // null, and so may block_table.
  BatchArrays host = {};
  // For kernels, in memory of the device; on a CPU they may be the same arrays. Their addresses
  // stay where steps are captured in a graph.
  BatchArrays device = {};

  int32_t QueryLen(int32_t seq) const {
    return host.query_start_loc[seq + 1] - host.query_start_loc[seq];
  }
};

// Checks the lengths and what planning needs, without a cache.
Status Validate(const AttentionSpec& spec, const AttentionBatch& batch);

// Checks every index of the host's arrays against the cache's size: for callers that take batches
// from elsewhere, and for debug builds. O(num_tokens + pages).
Status Validate(const AttentionBatch& batch, int64_t num_blocks, int32_t block_size);

// The same for the layer: what its features need must be there (causal, prefix_ranges), and only
// cross attention and encoders have sequences of other lengths than decoders.
Status Validate(const AttentionSpec& spec, const AttentionBatch& batch, const KvCache& cache);

}  // namespace tessera
