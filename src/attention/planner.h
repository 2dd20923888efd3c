// The planner: divides a step's attention over workers and over key ranges by predicted cost, not
// by request count. Names no platform: CPU backends and GPU kernels walk the same lists.
#pragma once

#include <cstdint>
#include <vector>

#include "attention/kernel/kernel_args.h"
#include "tessera/attention_batch.h"
#include "tessera/attention_spec.h"
#include "tessera/backend.h"

namespace tessera {

struct PlannerOptions {
  Phases phases = Phases::kBoth;
  int32_t workers = 1;           // cores, or thread blocks that run at a time
  int32_t max_rows = 64;         // packed rows of an item
  int32_t key_step = 64;         // keys of one kernel step; split points are multiples of it
  int32_t min_split_keys = 256;  // key ranges are not split finer
  // Cost of loading one key for an item, in units of multiplying one row with one key.
  double load_cost = 8.0;
  // Cost of an item as such: fetching the query, writing the result.
  double item_cost = 64.0;
  // GPUs: all `workers` begin together, and a last wave of a few items leaves most of them idle.
  // Searches for the division with the shortest predicted makespan.
  bool whole_waves = false;
  double merge_cost = 0.0;  // of one row of one part, if key ranges are split (whole_waves)
  // Keys per item under spec.batch_invariant, where the division may depend on the row alone: a
  // multiple of key_step.
  int32_t invariant_split_keys = 2048;
  // GPUs: partial rows that are kept at a time; what has more goes in passes.
  int64_t max_partial_rows = int64_t{1} << 18;
  // Cascade: the shared prefix of so many requests and tokens at least is computed once for all.
  int32_t cascade_min_seqs = 4;
  int32_t cascade_min_keys = 256;
};

// A step's division of work. Rows that see no key at all have items as well (their result is 0).
struct WorkList {
  std::vector<kernel::WorkItem> items;  // the costliest first
  std::vector<kernel::MergeItem>
      merges;                // for the rows whose keys were split, after all items are done
  int64_t partial_rows = 0;  // rows of the partial buffers
};

// The rule of visibility that the spec and the batch make together, over one of the batch's arrays:
// the host's for planning, the device's for kernels.
kernel::MaskRule MakeMaskRule(const AttentionSpec& spec, const AttentionBatch& batch,
                              const BatchArrays& arrays);

// Overwrites `list` and recycles its memory. Reads the host's arrays alone.
void PlanWork(const AttentionSpec& spec, const AttentionBatch& batch, const PlannerOptions& options,
              WorkList* list);

}  // namespace tessera
