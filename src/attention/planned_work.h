// What the backends that walk a WorkList have in common: the plan, the kernel's arguments, and
// running and merging on a CPU's threads.
#pragma once

#include <cstdint>
#include <memory>

#include "attention/kernel/item_rows.h"
#include "attention/kernel/kernel_args.h"
#include "attention/kernel/logits.h"
#include "attention/planner.h"
#include "tessera/backend.h"

namespace tessera {

// The work of one step, and the partial results on the way; layers use it one after another.
struct PlannedWork : AttentionPlan {
  PlannedWork(const AttentionSpec& spec, const PlanCapacity& plan_capacity,
              const PlannerOptions& planner_options, Device* plan_device)
      : AttentionPlan(spec),
        capacity(plan_capacity),
        options(planner_options),
        device(plan_device) {}

  PlanCapacity capacity;
  PlannerOptions options;
  Device* device;  // whose the buffers are

  WorkList work;
  Buffer partial_output;      // [partial_rows, value_size], float32
  Buffer partial_lse;         // [partial_rows], float32
  Buffer worker_memory;       // a piece for each worker
  int64_t worker_stride = 0;  // bytes from one piece to the next
};

// Allocates `worker_bytes` of scratch memory for each of options.workers; work lists and partial
// results grow in PrepareWork(). Phases are the capacity's.
Result<std::unique_ptr<PlannedWork>> NewPlannedWork(const AttentionSpec& spec,
                                                    const PlanCapacity& capacity,
                                                    const PlannerOptions& options, Device* device,
                                                    int64_t worker_bytes);

// Plans a step. Fails if it exceeds the plan's capacity or memory runs out; the plan is then empty.
Status PrepareWork(const AttentionBatch& batch, PlannedWork* plan);

// The kernel instances that compute this layer.
kernel::Logits LogitsOf(const AttentionSpec& spec);

// With the device's arrays of the batch.
kernel::KernelArgs MakeKernelArgs(const AttentionBatch& batch, const KvCache& cache,
                                  const RunArgs& args, const PlannedWork& plan);

// The final rows of one merge item, from its partial ones, whose first part is overwritten.
void MergeRows(const AttentionSpec& spec, const kernel::KernelArgs& args,
               const kernel::MergeItem& merge);

// Runs all items on a CPU's threads by run_item(args, item, memory), where `memory` is the worker's
// piece, then the merges. The caller holds a HostAccess. Allocates nothing.
template <typename RunItem>
void RunWork(const kernel::KernelArgs& args, const PlannedWork& plan, ThreadPool* threads,
             const RunItem& run_item) {
  const WorkList& work = plan.work;
  threads->ParallelFor(static_cast<int64_t>(work.items.size()), [&](int64_t i, int worker) {
    run_item(args, kernel::FitToLengths(args, work.items[static_cast<size_t>(i)]),
             plan.worker_memory.As<char>() + worker * plan.worker_stride);
  });
  threads->ParallelFor(static_cast<int64_t>(work.merges.size()), [&](int64_t i, int) {
    MergeRows(plan.spec(), args, work.merges[static_cast<size_t>(i)]);
  });
}

}  // namespace tessera
