#include "engine/step_builder.h"

#include <algorithm>

namespace tessera {

StepBuilder::StepBuilder(const StepBuilderOptions& options) : options_(options) {}

int32_t StepBuilder::MaxRows(const StepBuilderOptions& options, int32_t max_batch_tokens) {
  return options.drafts_as_sequences ? options.max_running + max_batch_tokens : options.max_running;
}

void StepBuilder::Forget() { rows_.clear(); }

// Only blocks from the first computed token's on can differ from what was sent for the same
// admission.
void StepBuilder::SendBlocks(const Sequence& sequence, int32_t row, int32_t begin,
                             StepBatch* batch) {
  if (rows_.size() <= static_cast<size_t>(row)) rows_.resize(static_cast<size_t>(row) + 1);
  Row& sent = rows_[static_cast<size_t>(row)];
  // Rows after max_running change hands in every step.
  const bool known = sent.admission == sequence.admission && row < options_.max_running;
  sent.admission = sequence.admission;
  if (!known) sent.blocks.clear();
  const auto first = known ? static_cast<size_t>(begin / options_.block_size) : size_t{0};
  for (size_t column = std::min(first, sent.blocks.size()); column < sequence.blocks.size();
       ++column) {
    const int32_t block = sequence.blocks[column];
    if (column < sent.blocks.size() && sent.blocks[column] == block) continue;
    if (column == sent.blocks.size()) sent.blocks.push_back(block);
    sent.blocks[column] = block;
    batch->changed_blocks.push_back({row, static_cast<int32_t>(column), block});
  }
}

// The positions [begin, end): tokens of the sequence, the last of which may be under way, then its
// drafts.
void StepBuilder::AddTokens(const Sequence& sequence, const ScheduledChunk& chunk, int32_t begin,
                            int32_t end, StepBatch* batch) {
  for (int32_t p = begin; p < end; ++p) {
    const int64_t block = sequence.blocks[static_cast<size_t>(p / options_.block_size)];
    if (p + 1 == sequence.size() && sequence.awaited_row >= 0) {
      batch->token_ids.push_back(SampledBefore(sequence.awaited_row));
    } else {
      batch->token_ids.push_back(p < chunk.end
                                     ? sequence.tokens[static_cast<size_t>(p)]
                                     : sequence.draft[static_cast<size_t>(p - chunk.end)]);
    }
    batch->positions.push_back(p);
    batch->slot_mapping.push_back(block * options_.block_size + p % options_.block_size);
  }
}

// The sequence that row `row` of the tables holds, with the positions [begin, end) to compute,
// whose tokens were added last. Rows in between are empty.
void StepBuilder::AddSequence(const Sequence& sequence, int32_t row, int32_t begin, int32_t end,
                              StepBatch* batch) {
  while (batch->num_seqs() < row) {
    batch->seq_lens.push_back(0);
    batch->query_start_loc.push_back(batch->query_start_loc.back());
  }
  batch->seq_lens.push_back(end);
  batch->query_start_loc.push_back(batch->num_tokens());
  SendBlocks(sequence, row, begin, batch);
}

// How many leading tokens of all chunks' contexts lie in the same blocks: what the prefix cache
// gave them, for attention to compute once. Ends at the first block that differs.
int32_t StepBuilder::CommonPrefix() const {
  if (chunks_.size() < 2) return 0;
  int32_t tokens = chunks_.front()->begin;
  for (const ScheduledChunk* chunk : chunks_) tokens = std::min(tokens, chunk->begin);
  const auto most = static_cast<size_t>(tokens / options_.block_size);
  const std::vector<int32_t>& first = chunks_.front()->sequence->blocks;
  size_t shared = 0;
  while (shared < most &&
         std::all_of(chunks_.begin(), chunks_.end(), [&](const ScheduledChunk* chunk) {
           return chunk->sequence->blocks[shared] == first[shared];
         })) {
    ++shared;
  }
  return static_cast<int32_t>(shared) * options_.block_size;
}

void StepBuilder::Build(ScheduledStep* step, StepBatch* batch) {
  batch->Clear();
  batch->query_start_loc.push_back(0);
  chunks_.clear();
  for (ScheduledChunk& chunk : step->chunks) chunks_.push_back(&chunk);
  std::sort(chunks_.begin(), chunks_.end(), [](const ScheduledChunk* a, const ScheduledChunk* b) {
    return a->sequence->row < b->sequence->row;
  });

  batch->common_prefix_len = CommonPrefix();

  struct DraftRows {
    size_t first_logit;  // of batch->logit_rows
    const ScheduledChunk* chunk;
  };
  std::vector<DraftRows> later;
  for (const ScheduledChunk* chunk : chunks_) {
    const Sequence& sequence = *chunk->sequence;
    const int32_t end = options_.drafts_as_sequences ? chunk->end : chunk->end + chunk->drafts;
    const int32_t row_of_zero = batch->num_tokens() - chunk->begin;
    AddTokens(sequence, *chunk, chunk->begin, end, batch);
    AddSequence(sequence, sequence.row, chunk->begin, end, batch);
    for (int32_t p = chunk->first_prompt_logit(); p < chunk->last_prompt_logit(); ++p) {
      batch->logit_rows.push_back(row_of_zero + p);
    }
    if (!chunk->samples()) continue;
    batch->logit_rows.push_back(row_of_zero + chunk->end - 1);
    if (options_.drafts_as_sequences && chunk->drafts > 0) {
      later.push_back({batch->logit_rows.size(), chunk});
    }
    for (int32_t i = 0; i < chunk->drafts; ++i) {
      batch->logit_rows.push_back(row_of_zero + chunk->end + i);
    }
  }
  int32_t row = options_.max_running;
  for (const DraftRows& drafts : later) {
    const ScheduledChunk& chunk = *drafts.chunk;
    for (int32_t i = 0; i < chunk.drafts; ++i, ++row) {
      const int32_t position = chunk.end + i;
      batch->logit_rows[drafts.first_logit + static_cast<size_t>(i)] = batch->num_tokens();
      AddTokens(*chunk.sequence, chunk, position, position + 1, batch);
      AddSequence(*chunk.sequence, row, position, position + 1, batch);
    }
  }
}

}  // namespace tessera
