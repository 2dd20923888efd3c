#include "engine/runner.h"

#include <algorithm>
#include <new>
#include <string>
#include <utility>

namespace tessera {

Runner::Runner(Model* model, LayerGroups groups, const std::vector<Backend*>& backends,
               const KvMemory& memory)
    : model_(model),
      groups_(std::move(groups)),
      vocab_size_(model->config().vocab_size),
      block_size_(memory.layers().at(0).block_size),
      drafts_apart_(std::any_of(groups_.specs.begin(), groups_.specs.end(),
                                [](const AttentionSpec& spec) { return spec.batch_invariant; })),
      backends_(backends),
      plans_(backends.size()) {
  TESSERA_CHECK(backends_.size() == groups_.specs.size());
  TESSERA_CHECK(memory.layers().size() == groups_.group_of_layer.size());
  for (size_t i = 0; i < memory.layers().size(); ++i) {
    const size_t group = groups_.group_of_layer[i];
    layers_.push_back({backends_[group], nullptr, &groups_.specs[group], memory.layers()[i]});
  }
}

void Runner::BuildBatch(const ScheduledStep& step) {
  token_ids_.clear();
  positions_.clear();
  slot_mapping_.clear();
  seq_lens_.clear();
  logit_rows_.clear();
  query_start_loc_.assign(1, 0);
  size_t table_width = 0;
  size_t entries = step.chunks.size();
  for (const ScheduledChunk& chunk : step.chunks) {
    table_width = std::max(table_width, chunk.sequence->blocks.size());
    if (drafts_apart_) entries += static_cast<size_t>(chunk.drafts);
  }
  block_table_.resize(std::max(block_table_.size(), table_width * entries));

  attention_ = {};
  for (const ScheduledChunk& chunk : step.chunks) {
    const Sequence& sequence = *chunk.sequence;
    const int32_t row_of_zero = static_cast<int32_t>(token_ids_.size()) - chunk.begin;
    const int32_t end = chunk.end + chunk.drafts;
    for (int32_t p = chunk.begin; p < end; ++p) {
      const int64_t block = sequence.blocks[static_cast<size_t>(p / block_size_)];
      token_ids_.push_back(p < chunk.end ? sequence.tokens[static_cast<size_t>(p)]
                                         : sequence.draft[static_cast<size_t>(p - chunk.end)]);
      positions_.push_back(p);
      slot_mapping_.push_back(block * block_size_ + p % block_size_);
    }
    for (int32_t p = chunk.first_prompt_logit(); p < chunk.last_prompt_logit(); ++p) {
      logit_rows_.push_back(row_of_zero + p);
    }
    if (chunk.samples()) {
      for (int32_t p = chunk.end - 1; p < end; ++p) logit_rows_.push_back(row_of_zero + p);
    }
    const int32_t first_end = drafts_apart_ ? chunk.end : end;
    AddEntry(sequence, row_of_zero, chunk.begin, first_end, table_width);
    for (int32_t p = first_end; p < end; ++p) {
      AddEntry(sequence, row_of_zero, p, p + 1, table_width);
    }
  }
  attention_.num_seqs = static_cast<int32_t>(seq_lens_.size());
  attention_.num_tokens = step.num_tokens;
  attention_.query_start_loc = query_start_loc_.data();
  attention_.seq_lens = seq_lens_.data();
  attention_.block_table = block_table_.data();
  attention_.block_table_stride = static_cast<int64_t>(table_width);
  attention_.slot_mapping = slot_mapping_.data();
}

// What attention takes for one sequence: the rows of the positions [begin, end).
void Runner::AddEntry(const Sequence& sequence, int32_t row_of_zero, int32_t begin, int32_t end,
                      size_t table_width) {
  std::copy(sequence.blocks.begin(), sequence.blocks.end(),
            block_table_.begin() + static_cast<std::ptrdiff_t>(seq_lens_.size() * table_width));
  query_start_loc_.push_back(row_of_zero + end);
  seq_lens_.push_back(end);
  attention_.max_query_len = std::max(attention_.max_query_len, end - begin);
  attention_.max_seq_len = std::max(attention_.max_seq_len, end);
}

Status Runner::TryRun(const ScheduledStep& step) {
  BuildBatch(step);
  for (size_t g = 0; g < plans_.size(); ++g) {
    plans_[g] = backends_[g]->Plan(groups_.specs[g], attention_, std::move(plans_[g]));
  }
  for (size_t i = 0; i < layers_.size(); ++i) {
    layers_[i].plan = plans_[groups_.group_of_layer[i]].get();
  }
  const size_t wanted = logit_rows_.size() * static_cast<size_t>(vocab_size_);
  if (logits_.size() < wanted) logits_.resize(wanted);
  const ForwardBatch batch{token_ids_, positions_, attention_, layers_, logit_rows_};
  return model_->Forward(batch, logits_.data());
}

Status Runner::Run(const ScheduledStep& step) {
  // An exception that left the stepping thread would end the program, with all requests that wait.
  try {
    return TryRun(step);
  } catch (const std::bad_alloc&) {
    return OutOfMemory("Memory ran out in a step of " + std::to_string(step.num_tokens) +
                       " tokens; lower max_batch_tokens below that, or free memory.");
  }
}

std::span<const float> Runner::Logits(int64_t row) const {
  TESSERA_CHECK(row >= 0 && row < static_cast<int64_t>(logit_rows_.size()));
  return {logits_.data() + row * vocab_size_, static_cast<size_t>(vocab_size_)};
}

}  // namespace tessera
