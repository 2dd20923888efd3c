// What the backends that walk a WorkList have in common: the plan, the kernel's arguments, and
// merging in host memory.
#pragma once

#include <vector>

#include "attention/kernel/kernel_args.h"
#include "attention/kernel/logits.h"
#include "attention/planner.h"
#include "tessera/backend.h"

namespace tessera {

// The work of one step, and the partial results on the way; layers use it one after another.
struct PlannedWork : AttentionPlan {
  WorkList work;
  std::vector<float> partial_output;  // [partial_rows, value_size]
  std::vector<float> partial_lse;     // [partial_rows]
};

// Plans anew, in the memory of `reuse` (a PlannedWork, or null).
std::unique_ptr<PlannedWork> PlanStep(const AttentionSpec& spec, const AttentionBatch& batch,
                                      const PlannerOptions& options,
                                      std::unique_ptr<AttentionPlan> reuse);

// The kernel instances that compute this layer.
kernel::Logits LogitsOf(const AttentionSpec& spec);

kernel::KernelArgs MakeKernelArgs(const AttentionSpec& spec, const AttentionBatch& batch,
                                  const KvCache& cache, const RunArgs& args, PlannedWork* plan);

// The final rows of one merge item, from its partial ones.
void MergeRows(const AttentionSpec& spec, const kernel::KernelArgs& args,
               const kernel::MergeItem& merge);

}  // namespace tessera
