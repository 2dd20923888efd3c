// From the scheduler's decision to a worker's step.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/scheduler.h"
#include "engine/step_batch.h"

namespace tessera {

struct StepBuilderOptions {
  int32_t block_size = 16;
  int32_t max_running = 256;
  // Batch-invariant mode: each draft token runs as a one-token decode in a row of its own after
  // those of max_running, not as a row of its sequence.
  bool drafts_as_sequences = false;
};

// Remembers what the worker's block tables hold. Not thread-safe.
class StepBuilder {
 public:
  explicit StepBuilder(const StepBuilderOptions& options);

  // Fills in everything but the sampling. The rows of logits come chunk by chunk in the order of
  // chunks(): those of the prompt by position, then, if the chunk samples, those of its last token
  // and of its drafts.
  void Build(ScheduledStep* step, StepBatch* batch);

  // The step's chunks as the batch has them: by row of the block tables.
  const std::vector<ScheduledChunk*>& chunks() const { return chunks_; }

  // Tells it that a step was lost before the worker had it: what it sent is sent again.
  void Forget();

  // The most rows of the block tables that a step may use.
  static int32_t MaxRows(const StepBuilderOptions& options, int32_t max_batch_tokens);

 private:
  // What a row of the tables holds.
  struct Row {
    uint64_t admission = 0;       // whose; 0: nobody's
    std::vector<int32_t> blocks;  // as they were sent
  };

  void AddTokens(const Sequence& sequence, const ScheduledChunk& chunk, int32_t begin, int32_t end,
                 StepBatch* batch);
  void AddSequence(const Sequence& sequence, int32_t row, int32_t begin, int32_t end,
                   StepBatch* batch);
  int32_t CommonPrefix() const;
  void SendBlocks(const Sequence& sequence, int32_t row, int32_t begin, StepBatch* batch);

  const StepBuilderOptions options_;
  std::vector<ScheduledChunk*> chunks_;
  std::vector<Row> rows_;
};

}  // namespace tessera
