// What a step computes, as plain data without pointers: what the scheduler decided, in the form
// that a worker runs.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/sampling.h"

namespace tessera {

// An entry of the block tables that the worker keeps.
struct BlockChange {
  int32_t row = 0;     // of the table: a sequence of the step
  int32_t column = 0;  // the sequence's tokens column * block_size onwards
  int32_t block = 0;
};

// Sequence i of the step has row i of the block table. Rows whose sequence computes nothing are
// empty: no tokens, length 0.
struct StepBatch {
  std::vector<int32_t> token_ids;           // [num_tokens]; or SampledBefore()
  std::vector<int32_t> positions;           // [num_tokens]
  std::vector<int64_t> slot_mapping;        // [num_tokens]
  std::vector<int32_t> query_start_loc;     // [num_seqs + 1]
  std::vector<int32_t> seq_lens;            // [num_seqs]
  std::vector<BlockChange> changed_blocks;  // since the step before, by row and column
  int32_t common_prefix_len = 0;            // as AttentionBatch has it

  // The rows of tokens whose logits are wanted, in any order; what becomes of each.
  std::vector<int32_t> logit_rows;
  SamplingBatch sampling;       // its rows are logit_rows'; none: nothing is sampled
  bool returns_logits = false;  // the logits themselves are wanted as well

  int32_t num_tokens() const { return static_cast<int32_t>(token_ids.size()); }
  int32_t num_seqs() const { return static_cast<int32_t>(seq_lens.size()); }

  // Empties it; its memory stays.
  void Clear();
};

}  // namespace tessera
