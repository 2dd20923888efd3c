// Context parallelism: the keys of every request are dealt out to ranks, each of which attends to
// its own share; the results are merged by their lse. (vLLM's decode context parallelism, "DCP".)
//
// Token t of a request belongs to rank (t / interleave) % ranks and is that rank's token
// LocalLength(t). A rank keeps its tokens in blocks of its own, one after the other.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tessera/attention_batch.h"
#include "tessera/attention_spec.h"
#include "tessera/result.h"

namespace tessera {

struct ContextShard {
  int32_t rank = 0;
  int32_t ranks = 1;
  int32_t interleave = 1;  // consecutive tokens that stay together

  bool Owns(int32_t token) const { return token / interleave % ranks == rank; }
  // How many of a sequence's first `tokens` tokens the rank owns.
  int32_t LocalLength(int32_t tokens) const;
};

// What a layer must be for this: what a row sees must be all keys up to its own, and what is added
// to a score must not depend on where the key lies. Sinks count on rank 0.
Status ValidateContextParallel(const AttentionSpec& spec);

// The layer as one rank computes it.
AttentionSpec LocalSpec(const AttentionSpec& spec, const ContextShard& shard);

// The step as one rank computes it: every query row is a request of its own, which sees the rank's
// keys up to the row's position. Owns its arrays.
class LocalBatch {
 public:
  // `block_table` is the rank's own, in memory of the host, one row for each request of `batch`,
  // whose host arrays alone are read. `block_size` is the rank's.
  LocalBatch(const AttentionBatch& batch, const ContextShard& shard, const int32_t* block_table,
             int64_t block_table_stride, int32_t block_size);

  // Its slot_mapping is the rank's: -1 for tokens of other ranks. Its device arrays are its host
  // arrays; a caller whose kernels cannot read those puts copies in their place.
  const AttentionBatch& batch() const { return batch_; }

 private:
  AttentionBatch batch_;
  std::vector<int32_t> query_start_loc_, seq_lens_, block_table_;
  std::vector<int64_t> slot_mapping_;
};

// One rank's results.
struct RankResult {
  const float* output = nullptr;  // [rows, value_size], float32
  const float* lse = nullptr;     // [rows]
};

// output[rows, value_size] and lse[rows] (or null) of all keys together. A row is one query token
// under one head.
void MergeRanks(std::span<const RankResult> ranks, int64_t rows, int32_t value_size, float* output,
                float* lse);

}  // namespace tessera
