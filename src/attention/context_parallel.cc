#include "tessera/context_parallel.h"

#include <algorithm>

#include "tessera/merge.h"

namespace tessera {

int32_t ContextShard::LocalLength(int32_t tokens) const {
  const int64_t round = int64_t{interleave} * ranks;
  const int64_t whole = tokens / round * interleave;
  const int64_t rest = tokens % round - int64_t{rank} * interleave;
  return static_cast<int32_t>(whole + std::clamp<int64_t>(rest, 0, interleave));
}

Status ValidateContextParallel(const AttentionSpec& spec) {
  const auto refuse = [](const char* what) {
    return Unsupported(std::string("context parallelism deals out a request's keys, so ") + what +
                       " cannot be computed");
  };
  if (spec.type != AttentionType::kDecoder) return refuse("attention without a decoder's cache");
  if (spec.causality != Causality::kCausal) return refuse("attention that is not causal");
  if (spec.window_left >= 0 || spec.window_right >= 0) return refuse("a sliding window");
  if (spec.chunk_size > 0) return refuse("chunked-local attention");
  if (spec.alibi != Alibi::kNone) return refuse("ALiBi");
  if (spec.query_query_bias) return refuse("a query-query bias");
  if (spec.prefix_ranges) return refuse("bidirectional prefix ranges");
  return {};
}

AttentionSpec LocalSpec(const AttentionSpec& spec, const ContextShard& shard) {
  AttentionSpec local = spec;
  // A row's own token may lie on another rank: all that the local batch names is seen.
  local.type = AttentionType::kCross;
  local.causality = Causality::kFull;
  local.sinks = spec.sinks && shard.rank == 0;
  local.output_dtype = DType::kFloat32;
  local.fp8_output_scale = false;
  return local;
}

LocalBatch::LocalBatch(const AttentionBatch& batch, const ContextShard& shard,
                       const int32_t* block_table, int64_t block_table_stride, int32_t block_size) {
  query_start_loc_.push_back(0);
  for (int32_t seq = 0; seq < batch.num_seqs; ++seq) {
    const int32_t query_len = batch.QueryLen(seq);
    const int32_t* blocks = block_table + seq * block_table_stride;
    for (int32_t t = 0; t < query_len; ++t) {
      const int32_t position = batch.host.seq_lens[seq] - query_len + t;
      const int32_t length = shard.LocalLength(position + 1);
      query_start_loc_.push_back(query_start_loc_.back() + 1);
      seq_lens_.push_back(length);
      block_table_.insert(block_table_.end(), blocks, blocks + block_table_stride);
      const bool owned = shard.Owns(position) &&
                         (batch.host.slot_mapping == nullptr ||
                          batch.host.slot_mapping[batch.host.query_start_loc[seq] + t] >= 0);
      slot_mapping_.push_back(owned ? int64_t{blocks[(length - 1) / block_size]} * block_size +
                                          (length - 1) % block_size
                                    : -1);
      batch_.max_seq_len = std::max(batch_.max_seq_len, length);
    }
  }
  batch_.num_seqs = static_cast<int32_t>(seq_lens_.size());
  batch_.num_tokens = batch_.num_seqs;
  slot_mapping_.resize(static_cast<size_t>(batch_.num_tokens), -1);
  batch_.block_table_stride = block_table_stride;
  batch_.host = {.query_start_loc = query_start_loc_.data(),
                 .seq_lens = seq_lens_.data(),
                 .block_table = block_table_.data(),
                 .slot_mapping = slot_mapping_.data()};
  batch_.device = batch_.host;
  batch_.max_query_len = 1;
}

void MergeRanks(std::span<const RankResult> ranks, int64_t rows, int32_t value_size, float* output,
                float* lse) {
  std::vector<PartialState> states(ranks.size());
  for (int64_t row = 0; row < rows; ++row) {
    for (size_t rank = 0; rank < ranks.size(); ++rank) {
      states[rank] = {ranks[rank].output + row * value_size, ranks[rank].lse[row]};
    }
    const float merged = MergeStates(states, value_size, output + row * value_size);
    if (lse != nullptr) lse[row] = merged;
  }
}

}  // namespace tessera
