#include "tessera/attention_batch.h"

#include <algorithm>
#include <string>

namespace tessera {

namespace {

std::string Of(const char* what, int64_t index) {
  return std::string(what) + "[" + std::to_string(index) + "]";
}

// How the sequences' lengths relate to the queries', and where the keys lie.
struct Shape {
  bool paged = true;
  bool own_tokens = true;  // a request's keys end with its new tokens
};

Status ValidateShape(const AttentionBatch& batch, int64_t num_blocks, int32_t block_size,
                     Shape shape) {
  if (batch.num_seqs < 0 || batch.num_tokens < 0) {
    return InvalidArgument("num_seqs and num_tokens must not be negative");
  }
  if (num_blocks < 0 || block_size <= 0) {
    return InvalidArgument("a cache of " + std::to_string(num_blocks) + " blocks of " +
                           std::to_string(block_size) + " tokens holds nothing");
  }
  if (batch.num_seqs > 0 && batch.query_start_loc[0] != 0) {
    return InvalidArgument("query_start_loc[0] is not 0");
  }
  for (int32_t seq = 0; seq < batch.num_seqs; ++seq) {
    const int32_t seq_len = batch.seq_lens[seq];
    if (batch.query_start_loc[seq + 1] < batch.query_start_loc[seq] ||
        batch.query_start_loc[seq + 1] > batch.num_tokens) {
      return InvalidArgument(
          Of("query_start_loc", seq + 1) + " = " + std::to_string(batch.query_start_loc[seq + 1]) +
          " must ascend and end at num_tokens = " + std::to_string(batch.num_tokens) + " at most");
    }
    const int32_t query_len = batch.QueryLen(seq);
    if (seq_len < 0 || (shape.own_tokens && query_len > 0 && seq_len < query_len)) {
      return InvalidArgument(Of("seq_lens", seq) + " = " + std::to_string(seq_len) +
                             " must hold the request's " + std::to_string(query_len) +
                             " new tokens");
    }
    if (query_len > batch.max_query_len || seq_len > batch.max_seq_len) {
      return InvalidArgument("request " + std::to_string(seq) +
                             " exceeds max_query_len or max_seq_len");
    }
    if (!shape.paged && seq_len != query_len) {
      return InvalidArgument(Of("seq_lens", seq) + " = " + std::to_string(seq_len) +
                             " must be the encoder's " + std::to_string(query_len) + " tokens");
    }
    const int64_t pages =
        shape.paged ? (int64_t{seq_len} + block_size - 1) / block_size : int64_t{0};
    if (pages > batch.block_table_stride) {
      return InvalidArgument(Of("seq_lens", seq) + " needs " + std::to_string(pages) +
                             " blocks, a row of block_table has " +
                             std::to_string(batch.block_table_stride));
    }
    for (int64_t page = 0; page < pages; ++page) {
      const int32_t block = batch.block_table[seq * batch.block_table_stride + page];
      if (block < 0 || block >= num_blocks) {
        return InvalidArgument("block_table[" + std::to_string(seq) + "][" + std::to_string(page) +
                               "] = " + std::to_string(block) + " is no block of a cache of " +
                               std::to_string(num_blocks));
      }
    }
  }
  for (int32_t token = 0; batch.slot_mapping != nullptr && token < batch.num_tokens; ++token) {
    const int64_t slot = batch.slot_mapping[token];
    if (slot < -1 || slot >= num_blocks * block_size) {
      return InvalidArgument(Of("slot_mapping", token) + " = " + std::to_string(slot) +
                             " is no slot of a cache of " +
                             std::to_string(num_blocks * block_size));
    }
  }
  return {};
}

}  // namespace

Status Validate(const AttentionBatch& batch, int64_t num_blocks, int32_t block_size) {
  return ValidateShape(batch, num_blocks, block_size, {});
}

Status Validate(const AttentionSpec& spec, const AttentionBatch& batch, const KvCache& cache) {
  const bool paged = spec.type == AttentionType::kDecoder || spec.type == AttentionType::kCross;
  TESSERA_RETURN_IF_ERROR(
      ValidateShape(batch, cache.num_blocks, paged ? cache.block_size : 1,
                    {.paged = paged, .own_tokens = spec.type != AttentionType::kCross}));
  if (spec.causality == Causality::kPerRequest && batch.causal == nullptr && batch.num_seqs > 0) {
    return InvalidArgument("causality by request needs AttentionBatch::causal");
  }
  if (spec.prefix_ranges && batch.max_prefix_ranges > 0 && batch.prefix_ranges == nullptr) {
    return InvalidArgument("prefix ranges need AttentionBatch::prefix_ranges");
  }
  if (batch.common_prefix_len > 0) {
    const int64_t pages =
        (int64_t{batch.common_prefix_len} + cache.block_size - 1) / std::max(1, cache.block_size);
    for (int32_t seq = 0; paged && seq < batch.num_seqs; ++seq) {
      if (batch.QueryLen(seq) == 0) continue;
      if (batch.seq_lens[seq] < batch.common_prefix_len) {
        return InvalidArgument("common_prefix_len = " + std::to_string(batch.common_prefix_len) +
                               " exceeds " + Of("seq_lens", seq));
      }
      for (int64_t page = 0; page < pages; ++page) {
        if (batch.block_table[seq * batch.block_table_stride + page] != batch.block_table[page]) {
          return InvalidArgument("block_table[" + std::to_string(seq) + "][" +
                                 std::to_string(page) +
                                 "] is another block than the first request's, though both lie in "
                                 "the common prefix");
        }
      }
    }
  }
  return {};
}

}  // namespace tessera
