// The worker: a device with everything on it that a model needs (weights, caches, block tables,
// scratch, recorded graphs), which runs steps.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "engine/kv_memory.h"
#include "engine/layer_groups.h"
#include "engine/step_batch.h"
#include "model/model.h"
#include "ops/ops.h"
#include "tessera/backend.h"
#include "tessera/device.h"
#include "tessera/result.h"

namespace tessera {

struct WorkerOptions {
  int32_t max_seqs = 0;          // of a step: rows of the block table
  int32_t max_batch_tokens = 0;  // of a step
  int32_t max_logit_rows = 0;    // of a step
  int32_t blocks_per_seq = 0;    // columns of the block table
  bool run_ahead = false;        // two steps may be under way, and ids may be SampledBefore()
};

struct StepResult {
  std::vector<Result<SampledToken>> sampled;  // [StepBatch::sampling.rows]
  std::vector<float> logits;                  // [logit_rows, vocab_size], if they were wanted
  double model_seconds = 0;                   // queueing the model and waiting for the step
  double sample_seconds = 0;                  // queueing the choice of tokens; on a CPU choosing
  double wait_seconds = 0;                    // of model_seconds: the wait
};

// Not thread-safe. Functions may throw std::bad_alloc; the step is then lost, and the
// worker takes the next one.
class Worker {
 public:
  // All outlive the worker; backends[g] serves groups.specs[g]. Fails if there is no memory for the
  // largest step.
  static Result<std::unique_ptr<Worker>> Create(const WorkerOptions& options, Device* device,
                                                Ops* ops, Model* model, const LayerGroups& groups,
                                                const std::vector<Backend*>& backends,
                                                const KvMemory& memory);
  // Waits for what is under way.
  ~Worker() { (void)stream_.Synchronize(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Queues the step; on a CPU it is then done. Fails if the step asks for what the model or the
  // caches do not have; then it is not under way.
  Status Submit(const StepBatch& batch);

  // Waits for the oldest step under way and returns what it made. Does not wait for the one after
  // it. The step is no longer under way, whatever this returns. An error of the device stays: no
  // later step can succeed.
  Result<StepResult> Collect();

  // Waits for what is under way and returns the device's own error, which stays: no later step can
  // succeed.
  Status DeviceStatus();

  // Replays of recorded steps so far.
  int64_t num_replays() const { return num_replays_; }

 private:
  // A decode step of up to `size` sequences, recorded.
  struct Recorded {
    std::vector<std::unique_ptr<AttentionPlan>> plans;  // [groups]
    std::vector<uint64_t> versions;                     // of the plans, when it was recorded
    bool warm = false;                                  // one step has run on them
    std::unique_ptr<Graph> graph;                       // null before the next one
  };
  struct Arrays;
  // What belongs to one step under way: memory that the device still reads, and what to wait for.
  struct Slot {
    Buffer arrays;  // pinned
    Buffer blocks;  // pinned: changed entries of the tables, [max_seqs * blocks_per_seq] at most
    std::unique_ptr<Stream> end;  // follows the step, if nothing else does
    StepResult result;
    int64_t logit_rows = 0;
    bool returns_logits = false, samples = false;
  };

  Worker(const WorkerOptions& options, Device* device, Ops* ops, Model* model,
         const LayerGroups& groups, const std::vector<Backend*>& backends, const KvMemory& memory);

  Status Allocate();
  Status Check(const StepBatch& batch) const;
  void Upload(const StepBatch& batch, int32_t padded, Slot* slot);
  void PatchTables(const std::vector<BlockChange>& changes, Slot* slot);
  Status Run(const StepBatch& batch, Slot* slot);
  Status RunRecorded(int32_t size, int32_t logit_rows);
  Status RunUnrecorded(int32_t logit_rows);
  Result<std::unique_ptr<Graph>> Record(const std::vector<std::unique_ptr<AttentionPlan>>& plans,
                                        int32_t size);
  Status Forward(const std::vector<std::unique_ptr<AttentionPlan>>& plans, int64_t logit_rows);
  Status NewPlans(const PlanCapacity& capacity, std::vector<std::unique_ptr<AttentionPlan>>* plans);
  Status PreparePlans(const std::vector<std::unique_ptr<AttentionPlan>>& plans);

  const WorkerOptions options_;
  Device& device_;
  Ops& ops_;
  Stream& stream_;
  Model& model_;
  const LayerGroups groups_;
  const std::vector<Backend*> backends_;  // [groups]
  const int64_t vocab_size_;
  const int32_t block_size_;
  const int64_t num_blocks_;
  const bool shares_prefixes_;  // attention may compute a prefix of several requests once
  bool records_;  // whether decode steps are recorded: false once the device has refused

  // A step's arrays, side by side: one copy brings them to the device. What the device has is used
  // by one step after the other, in the stream's order.
  Buffer device_arrays_;
  Buffer device_table_;                                // [max_seqs, blocks_per_seq]
  std::vector<int32_t> host_table_;                    // likewise, for planning
  Buffer device_logits_;                               // [max_logit_rows, vocab_size]
  Buffer sampled_;                                     // [max_logit_rows]: the latest step's tokens
  std::vector<LayerAttention> layers_;                 // [num_layers]
  std::vector<std::unique_ptr<AttentionPlan>> plans_;  // [groups]
  // By size, and whether requests share a prefix.
  std::map<std::pair<int32_t, bool>, Recorded> recorded_;

  std::array<Slot, 2> slots_;
  size_t oldest_ = 0;            // of slots_
  size_t num_under_way_ = 0;     // from there on
  bool broken_off_ = false;      // the latest Submit() failed on its way
  size_t num_sampled_ = 0;       // rows of the latest submitted step
  bool has_unresolved_ = false;  // ids of the step that is being submitted
  ForwardBatch forward_;         // likewise
  int64_t num_replays_ = 0;
};

}  // namespace tessera
