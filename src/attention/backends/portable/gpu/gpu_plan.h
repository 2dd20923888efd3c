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

  // How many blocks to launch, and what they read.
  int64_t few_items() const { return few_.entries; }
  int64_t many_items() const { return many_.entries; }
  int64_t merges() const { return merges_.entries; }
  const kernel::WorkItem* few_data() const { return At<kernel::WorkItem>(few_); }
  const kernel::WorkItem* many_data() const { return At<kernel::WorkItem>(many_); }
  const kernel::MergeItem* merge_data() const { return At<kernel::MergeItem>(merges_); }

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
  Status SetSizes(int64_t few_entries, int64_t many_entries, int64_t merge_entries);
  bool IsFew(const kernel::WorkItem& item) const;

  const int32_t units_;
  int64_t max_partial_rows_ = 0;  // of a decode_only plan
  Buffer lists_;
  List few_, many_, merges_;
  std::vector<char> image_;  // of the lists, as they are copied
};

}  // namespace tessera
