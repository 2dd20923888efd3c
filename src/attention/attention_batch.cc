#include "tessera/attention_batch.h"

#include <algorithm>
#include <string>

#include "tessera/backend.h"

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

Shape ShapeOf(const AttentionSpec& spec) {
  return {.paged = spec.type == AttentionType::kDecoder || spec.type == AttentionType::kCross,
          .own_tokens = spec.type != AttentionType::kCross};
}

Status ValidateLengths(const AttentionBatch& batch, Shape shape) {
  const BatchArrays& host = batch.host;
  if (batch.num_seqs < 0 || batch.num_tokens < 0) {
    return InvalidArgument("num_seqs and num_tokens must not be negative");
  }
  if (batch.num_seqs == 0) return {};
  if (host.query_start_loc == nullptr || host.seq_lens == nullptr) {
    return InvalidArgument(
        "planning needs query_start_loc and seq_lens in AttentionBatch::host; slot_mapping and "
        "block_table may be missing there");
  }
  if (host.query_start_loc[0] != 0) return InvalidArgument("query_start_loc[0] is not 0");
  for (int32_t seq = 0; seq < batch.num_seqs; ++seq) {
    const int32_t seq_len = host.seq_lens[seq];
    if (host.query_start_loc[seq + 1] < host.query_start_loc[seq] ||
        host.query_start_loc[seq + 1] > batch.num_tokens) {
      return InvalidArgument(
          Of("query_start_loc", seq + 1) + " = " + std::to_string(host.query_start_loc[seq + 1]) +
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
  }
  return {};
}

// The blocks of request `seq`, as far as the host knows them.
Status ValidatePages(const AttentionBatch& batch, int32_t seq, int64_t num_blocks,
                     int32_t block_size) {
  const int64_t pages = (int64_t{batch.host.seq_lens[seq]} + block_size - 1) / block_size;
  if (pages > batch.block_table_stride) {
    return InvalidArgument(Of("seq_lens", seq) + " needs " + std::to_string(pages) +
                           " blocks, a row of block_table has " +
                           std::to_string(batch.block_table_stride));
  }
  for (int64_t page = 0; batch.host.block_table != nullptr && page < pages; ++page) {
    const int32_t block = batch.host.block_table[seq * batch.block_table_stride + page];
    if (block < 0 || block >= num_blocks) {
      return InvalidArgument("block_table[" + std::to_string(seq) + "][" + std::to_string(page) +
                             "] = " + std::to_string(block) + " is no block of a cache of " +
                             std::to_string(num_blocks));
    }
  }
  return {};
}

Status ValidateIndices(const AttentionBatch& batch, int64_t num_blocks, int32_t block_size,
                       Shape shape) {
  TESSERA_RETURN_IF_ERROR(ValidateLengths(batch, shape));
  if (num_blocks < 0 || block_size <= 0) {
    return InvalidArgument("a cache of " + std::to_string(num_blocks) + " blocks of " +
                           std::to_string(block_size) + " tokens holds nothing");
  }
  for (int32_t seq = 0; shape.paged && seq < batch.num_seqs; ++seq) {
    TESSERA_RETURN_IF_ERROR(ValidatePages(batch, seq, num_blocks, block_size));
  }
  for (int32_t token = 0; batch.host.slot_mapping != nullptr && token < batch.num_tokens; ++token) {
    const int64_t slot = batch.host.slot_mapping[token];
    if (slot < -1 || slot >= num_blocks * block_size) {
      return InvalidArgument(Of("slot_mapping", token) + " = " + std::to_string(slot) +
                             " is no slot of a cache of " +
                             std::to_string(num_blocks * block_size));
    }
  }
  return {};
}

Status ValidateFeatures(const AttentionSpec& spec, const AttentionBatch& batch) {
  if (spec.causality == Causality::kPerRequest && batch.num_seqs > 0 &&
      (batch.host.causal == nullptr || batch.device.causal == nullptr)) {
    return InvalidArgument("causality by request needs BatchArrays::causal, host's and device's");
  }
  if (spec.prefix_ranges && batch.max_prefix_ranges > 0 &&
      (batch.host.prefix_ranges == nullptr || batch.device.prefix_ranges == nullptr)) {
    return InvalidArgument("prefix ranges need BatchArrays::prefix_ranges, host's and device's");
  }
  return {};
}

Status ValidateCommonPrefix(const AttentionBatch& batch, int32_t block_size) {
  if (batch.common_prefix_len <= 0) return {};
  const int64_t pages =
      (int64_t{batch.common_prefix_len} + block_size - 1) / std::max(1, block_size);
  const int32_t* const table = batch.host.block_table;
  int32_t first = -1;  // the first request with rows
  for (int32_t seq = 0; seq < batch.num_seqs; ++seq) {
    if (batch.QueryLen(seq) == 0) continue;
    if (first < 0) first = seq;
    if (batch.host.seq_lens[seq] < batch.common_prefix_len) {
      return InvalidArgument("common_prefix_len = " + std::to_string(batch.common_prefix_len) +
                             " exceeds " + Of("seq_lens", seq));
    }
    for (int64_t page = 0; table != nullptr && page < pages; ++page) {
      if (table[seq * batch.block_table_stride + page] !=
          table[first * batch.block_table_stride + page]) {
        return InvalidArgument("block_table[" + std::to_string(seq) + "][" + std::to_string(page) +
                               "] is another block than the first request's, though both lie in "
                               "the common prefix");
      }
    }
  }
  return {};
}

}  // namespace

Status Validate(const AttentionSpec& spec, const AttentionBatch& batch) {
  TESSERA_RETURN_IF_ERROR(ValidateLengths(batch, ShapeOf(spec)));
  return ValidateFeatures(spec, batch);
}

Status Validate(const AttentionBatch& batch, int64_t num_blocks, int32_t block_size) {
  return ValidateIndices(batch, num_blocks, block_size, {});
}

Status Validate(const AttentionSpec& spec, const AttentionBatch& batch, const KvCache& cache) {
  const Shape shape = ShapeOf(spec);
  TESSERA_RETURN_IF_ERROR(
      ValidateIndices(batch, cache.num_blocks, shape.paged ? cache.block_size : 1, shape));
  TESSERA_RETURN_IF_ERROR(ValidateFeatures(spec, batch));
  return shape.paged ? ValidateCommonPrefix(batch, cache.block_size) : Status();
}

Status CheckCapacity(const PlanCapacity& capacity, const AttentionBatch& batch) {
  if (batch.num_seqs > capacity.max_seqs || batch.num_tokens > capacity.max_tokens) {
    return InvalidArgument(
        "a step of " + std::to_string(batch.num_seqs) + " requests and " +
        std::to_string(batch.num_tokens) + " tokens exceeds its plan, which was made for " +
        std::to_string(capacity.max_seqs) + " and " + std::to_string(capacity.max_tokens));
  }
  if (capacity.decode_only && batch.max_query_len > 1) {
    return InvalidArgument("a step with requests of " + std::to_string(batch.max_query_len) +
                           " new tokens exceeds its plan, which was made for decoding");
  }
  return {};
}

}  // namespace tessera
