// The runner: turns a scheduled step into the model's batch and runs it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/kv_memory.h"
#include "engine/layer_groups.h"
#include "engine/scheduler.h"
#include "model/model.h"
#include "tessera/backend.h"
#include "tessera/result.h"

namespace tessera {

// Keeps its arrays, plans and logits from step to step. Not thread-safe.
class Runner {
 public:
  // `model`, the backends and `memory` outlive the runner; backends[g] serves groups.specs[g].
  Runner(Model* model, LayerGroups groups, const std::vector<Backend*>& backends,
         const KvMemory& memory);
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Runs the step. The logits it wants are then found in the step's order: for each chunk its
  // prompt logits by position, then, where it samples, those of its last token and of its guesses.
  // Running out of memory is an error as any other.
  Status Run(const ScheduledStep& step);

  // [vocab_size] of the step's row `row`, counted over all wanted ones; valid until the next Run.
  std::span<const float> Logits(int64_t row) const;

 private:
  Status TryRun(const ScheduledStep& step);  // may throw std::bad_alloc
  void BuildBatch(const ScheduledStep& step);
  void AddEntry(const Sequence& sequence, int32_t row_of_zero, int32_t begin, int32_t end,
                size_t table_width);

  Model* const model_;
  const LayerGroups groups_;
  const int64_t vocab_size_;
  const int32_t block_size_;
  // Where a result may not depend on what runs beside it, a guess is not to be computed as a row of
  // a prefill, but as the decode that it stands for: as a sequence of its own, on the same blocks.
  const bool drafts_apart_;
  std::vector<LayerAttention> layers_;                 // [num_layers]
  std::vector<Backend*> backends_;                     // [groups]
  std::vector<std::unique_ptr<AttentionPlan>> plans_;  // [groups]

  std::vector<int32_t> token_ids_;        // [num_tokens]
  std::vector<int32_t> positions_;        // [num_tokens]
  std::vector<int64_t> slot_mapping_;     // [num_tokens]
  std::vector<int32_t> query_start_loc_;  // [chunks and guesses that stand apart + 1]
  std::vector<int32_t> seq_lens_;         // [those]
  std::vector<int32_t> block_table_;      // [those, most blocks of a chunk]
  std::vector<int32_t> logit_rows_;       // [num_logit_rows]
  std::vector<float> logits_;             // [num_logit_rows, vocab_size] of the largest step so far
  AttentionBatch attention_;
};

}  // namespace tessera
