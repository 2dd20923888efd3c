// A plan's work lists in a GPU's memory.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "attention/backends/portable/gpu/kernel_table.h"
#include "attention/planned_work.h"
#include "device/gpu/gpu_device.h"

namespace tessera {

// A kernel with its description.
struct LoadedKernel {
  InstanceKernel info;
  GpuKernel kernel;
};

// The lists lie one after another in one buffer. A decode_only plan has them at fixed addresses
// with a fixed number of entries, of which the unused ones are empty: a captured grid over all of
// them stays right. Other plans have as many as the step needs, and grow. In a decode_only plan one
// kernel computes all rows, but for shared prefixes, whose rows are those of all requests: they are
// always the work of the kernel of many rows.
//
// Other plans go over their work in passes, if its partial results would take more than
// PlannerOptions::max_partial_rows: each pass merges its own, and the next one uses their memory.
class GpuPlan final : public PlannedWork {
 public:
  // `units`: multiprocessors.
  static Result<std::unique_ptr<GpuPlan>> Create(const AttentionSpec& spec,
                                                 const PlanCapacity& capacity,
                                                 const PlannerOptions& options, Device* device,
                                                 const LoadedKernel& few, const LoadedKernel& many,
                                                 int32_t units);

  // Plans a step and gives the lists to the stream. Fails if the step exceeds the capacity.
  Status Prepare(const AttentionBatch& batch, GpuStream& stream);

  // Entries on the device, of which there is a block each to launch.
  template <class Item>
  struct Entries {
    const Item* data = nullptr;
    int64_t count = 0;
  };
  struct Pass {
    Entries<kernel::WorkItem> few, many;
    Entries<kernel::MergeItem> merges;
  };
  const std::vector<Pass>& passes() const { return passes_; }

  const LoadedKernel few;
  const LoadedKernel many;

 private:
  struct List {
    int64_t entries = 0;
    int64_t offset = 0;  // bytes
  };

  GpuPlan(const AttentionSpec& layer, const PlanCapacity& steps, const PlannerOptions& division,
          Device* gpu, const LoadedKernel& few_kernel, const LoadedKernel& many_kernel,
          int32_t units)
      : PlannedWork(layer, steps, division, gpu),
        few(few_kernel),
        many(many_kernel),
        units_(units) {}

  template <class Item>
  const Item* At(const List& list) const {
    return reinterpret_cast<const Item*>(lists_.As<char>() + list.offset);
  }
  Status Divide(const AttentionBatch& batch);
  void DividePasses(int64_t few_count);
  Status SetSizes(int64_t few_entries, int64_t many_entries, int64_t merge_entries);
  bool IsFew(const kernel::WorkItem& item) const;

  const int32_t units_;
  int64_t max_partial_rows_ = 0;  // of a decode_only plan
  Buffer lists_;
  List few_, many_, merges_;
  std::vector<char> image_;  // of the lists, as they are copied
  std::vector<Pass> passes_;
  std::vector<int64_t> pass_rows_;  // the first partial row of each pass, as they were planned
};

}  // namespace tessera
