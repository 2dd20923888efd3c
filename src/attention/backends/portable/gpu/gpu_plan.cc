#include "attention/backends/portable/gpu/gpu_plan.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>
#include <new>
#include <string>

#include "attention/feature_check.h"

namespace tessera {
namespace {

using kernel::MergeItem;
using kernel::WorkItem;

constexpr int64_t kAlignment = 16;  // of each list

int64_t RoundUp(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// Makes room for so many bytes; what was there is lost if it has to grow.
Status Reserve(int64_t bytes, Device* device, Buffer* buffer) {
  if (bytes <= buffer->bytes()) return {};
  const int64_t grown = std::max(bytes, buffer->bytes() + buffer->bytes() / 2);
  *buffer = Buffer();
  TESSERA_ASSIGN_OR_RETURN(*buffer, device->Allocate(grown, MemoryKind::kDevice));
  return {};
}

Status ReservePartials(int64_t rows, PlannedWork* plan) {
  const auto element = static_cast<int64_t>(sizeof(float));
  TESSERA_RETURN_IF_ERROR(
      Reserve(rows * plan->spec().value_size() * element, plan->device, &plan->partial_output));
  return Reserve(rows * element, plan->device, &plan->partial_lse);
}

}  // namespace

Result<std::unique_ptr<GpuPlan>> GpuPlan::Create(const AttentionSpec& spec,
                                                 const PlanCapacity& capacity,
                                                 const PlannerOptions& options, Device* device,
                                                 const LoadedKernel& few, const LoadedKernel& many,
                                                 int32_t units) {
  auto plan =
      std::unique_ptr<GpuPlan>(new GpuPlan(spec, capacity, options, device, few, many, units));
  plan->options.phases = capacity.phases;
  if (!capacity.decode_only) return plan;
  // A grid of the size that a step of all requests may need: each request's rows under each KV
  // head, and so many parts more that all blocks which run at a time have one, twice. The division
  // makes do with that. Likewise for all rows together with the keys of a shared prefix.
  const bool shares = capacity.shared_prefix && !spec.batch_invariant;
  if (!shares) plan->options.cascade_min_seqs = std::numeric_limits<int32_t>::max();
  // Of a batch-invariant step: parts of a request on average, and in all at least. A step that has
  // more is not one for this plan.
  constexpr int64_t kInvariantParts = 8, kLeastInvariantItems = 1024;
  const int64_t rows = std::min(spec.group_size(), options.max_rows);
  const int64_t tiles = int64_t{capacity.max_seqs} * spec.num_kv_heads *
                        ((spec.group_size() + options.max_rows - 1) / options.max_rows);
  const bool few_rows = rows <= few.info.rows;
  const int64_t workers = int64_t{units} * (few_rows ? few : many).info.blocks;
  const int64_t items = spec.batch_invariant
                            ? std::max(tiles * kInvariantParts, kLeastInvariantItems)
                            : tiles + 2 * workers;
  const int64_t all_rows = int64_t{capacity.max_seqs} * spec.group_size();
  const int64_t shared_tiles =
      spec.num_kv_heads * ((all_rows + options.max_rows - 1) / options.max_rows);
  const int64_t shared_items =
      shares ? shared_tiles + int64_t{2} * units * many.info.blocks : int64_t{0};
  plan->max_partial_rows_ =
      items * rows + shared_items * std::min<int64_t>(all_rows, options.max_rows);
  TESSERA_RETURN_IF_ERROR(ReservePartials(plan->max_partial_rows_, plan.get()));
  TESSERA_RETURN_IF_ERROR(
      plan->SetSizes(few_rows ? items : 0, (few_rows ? 0 : items) + shared_items, tiles));
  return plan;
}

Status GpuPlan::SetSizes(int64_t few_entries, int64_t many_entries, int64_t merge_entries) {
  constexpr int64_t kItem = sizeof(WorkItem), kMerge = sizeof(MergeItem);
  few_ = {few_entries, 0};
  many_ = {many_entries, RoundUp(few_entries * kItem)};
  merges_ = {merge_entries, RoundUp(many_.offset + many_entries * kItem)};
  const int64_t bytes = merges_.offset + merge_entries * kMerge;
  image_.assign(static_cast<size_t>(bytes), 0);
  return Reserve(bytes, device, &lists_);
}

bool GpuPlan::IsFew(const WorkItem& item) const {
  if (!capacity.decode_only) return item.row_count <= few.info.rows;
  return few_.entries > 0 && item.shared_prefix == 0;
}

// Divides the step, in a decode_only plan so that it fits.
Status GpuPlan::Divide(const AttentionBatch& batch) {
  bool few_rows = true;
  for (int32_t seq = 0; seq < batch.num_seqs; ++seq) {
    few_rows = few_rows && batch.QueryLen(seq) * spec().group_size() <= few.info.rows;
  }
  PlannerOptions step = options;
  step.workers = units_ * (few_rows ? few : many).info.blocks;
  PlanWork(spec(), batch, step, &work);
  if (!capacity.decode_only) return {};
  const auto fits = [&] {
    const auto few_count = std::count_if(work.items.begin(), work.items.end(),
                                         [&](const WorkItem& item) { return IsFew(item); });
    return few_count <= few_.entries &&
           static_cast<int64_t>(work.items.size()) - few_count <= many_.entries &&
           static_cast<int64_t>(work.merges.size()) <= merges_.entries &&
           work.partial_rows <= max_partial_rows_;
  };
  while (!spec().batch_invariant && !fits() && step.workers > 1) {
    step.workers /= 2;
    if (step.workers == 1) step.whole_waves = false;  // then nothing is split
    PlanWork(spec(), batch, step, &work);
  }
  if (fits()) return {};
  return InvalidArgument("a batch-invariant step of " + std::to_string(batch.num_seqs) +
                         " requests takes " + std::to_string(work.items.size()) +
                         " pieces of work, and its plan has room for " +
                         std::to_string(few_.entries + many_.entries) +
                         ": make a plan for more requests, or one that is not decode_only");
}

// Sorts the items, few ones first, and the merges by passes, whose partial rows all begin at 0.
void GpuPlan::DividePasses(int64_t few_count) {
  passes_.clear();
  if (capacity.decode_only || work.partial_rows <= options.max_partial_rows ||
      work.merges.front().shared_parts > 0) {
    passes_.push_back({{At<WorkItem>(few_), few_.entries},
                       {At<WorkItem>(many_), many_.entries},
                       {At<MergeItem>(merges_), merges_.entries}});
    return;
  }
  pass_rows_.assign(1, 0);
  int64_t most_rows = 0;
  for (const MergeItem& merge : work.merges) {  // by rising partial rows
    const int64_t end = merge.partial_row + int64_t{merge.parts} * merge.row_count;
    const bool fits = end - pass_rows_.back() <= options.max_partial_rows;
    if (!fits && merge.partial_row > pass_rows_.back()) {
      pass_rows_.push_back(merge.partial_row);
    }
    most_rows = std::max(most_rows, end - pass_rows_.back());
  }
  work.partial_rows = most_rows;
  passes_.resize(pass_rows_.size());
  // Items that are no part belong to the first pass.
  const auto pass_of = [&](const auto& entry) {
    const auto next = std::upper_bound(pass_rows_.begin(), pass_rows_.end(), entry.partial_row);
    return static_cast<size_t>(std::max<int64_t>(0, next - pass_rows_.begin() - 1));
  };
  const auto divide = [&](auto begin, auto end, const List& list, auto entries) {
    std::stable_sort(begin, end,
                     [&](const auto& a, const auto& b) { return pass_of(a) < pass_of(b); });
    using Item = typename std::iterator_traits<decltype(begin)>::value_type;
    const Item* data = At<Item>(list);
    for (auto entry = begin; entry != end; ++entry) {
      const size_t pass = pass_of(*entry);
      Entries<Item>& of_pass = passes_[pass].*entries;
      if (of_pass.count == 0) of_pass.data = data + (entry - begin);
      ++of_pass.count;
      if (entry->partial_row >= 0) entry->partial_row -= pass_rows_[pass];
    }
  };
  divide(work.items.begin(), work.items.begin() + few_count, few_, &Pass::few);
  divide(work.items.begin() + few_count, work.items.end(), many_, &Pass::many);
  divide(work.merges.begin(), work.merges.end(), merges_, &Pass::merges);
}

Status GpuPlan::Prepare(const AttentionBatch& batch, GpuStream& stream) {
  TESSERA_RETURN_IF_ERROR(CheckCapacity(capacity, batch));
  Status status;
  try {
    status = Divide(batch);
  } catch (const std::bad_alloc&) {
    status = OutOfMemory("there is no memory for the work list of a step of " +
                         std::to_string(batch.num_seqs) + " requests; make steps smaller");
  }
  if (!status.ok()) {
    work = {};
    passes_.clear();
    return status;
  }
  const auto many_begin = std::stable_partition(work.items.begin(), work.items.end(),
                                                [&](const WorkItem& item) { return IsFew(item); });
  const int64_t few_count = many_begin - work.items.begin();
  const int64_t many_count = work.items.end() - many_begin;
  const auto merge_count = static_cast<int64_t>(work.merges.size());
  if (capacity.decode_only) {
    TESSERA_RETURN_IF_ERROR(SetSizes(few_.entries, many_.entries, merges_.entries));
  } else {
    TESSERA_RETURN_IF_ERROR(SetSizes(few_count, many_count, merge_count));
  }
  DividePasses(few_count);
  if (!capacity.decode_only) TESSERA_RETURN_IF_ERROR(ReservePartials(work.partial_rows, this));
  const auto put = [&](const List& list, const auto* entries, int64_t count) {
    if (count == 0) return;
    std::memcpy(image_.data() + list.offset, entries,
                static_cast<size_t>(count) * sizeof(*entries));
  };
  put(few_, work.items.data(), few_count);
  put(many_, work.items.data() + few_count, many_count);
  put(merges_, work.merges.data(), merge_count);
  stream.Copy(lists_.data(), image_.data(), static_cast<int64_t>(image_.size()));
  return {};
}

}  // namespace tessera
