// An item's rows as a CPU's loops find them in memory: queries, keys and values by way of the block
// table, results. No instruction set is asked for.
#pragma once

#include <cstdint>

#include "attention/kernel/cpu/scalar_ops.h"
#include "attention/kernel/item_rows.h"
#include "attention/kernel/kernel_args.h"
#include "attention/kernel/key_range.h"
#include "tessera/dtype.h"

namespace tessera::kernel {

class CpuRows {
 public:
  CpuRows(const KernelArgs& kernel_args, const WorkItem& work_item)
      : args(kernel_args), item(work_item), rows(RowsOf(kernel_args, work_item)) {}

  KeyRange Visible(int32_t row) const { return VisibleToRow(args, item, rows, row); }
  // In units of log2; -infinity: none that counts.
  float Sink(int32_t row) const {
    return CountsSinks(args, item) ? SinkOfRow(args, item, row) : ScalarOps::kMinusInfinity;
  }

  // The row's query: [head_size] of args.query_dtype.
  const char* Query(int32_t row) const;

  // Where keys first .. first + count - 1 lie, their values likewise; `element_size` in bytes.
  void FindKeys(int32_t first, int32_t count, int64_t element_size, const char** keys,
                const char** values) const;

  // Scales of the `count` keys at `keys` (of FindKeys()) and of their values, if the cache keeps
  // such by token and head.
  bool HasTokenScales() const { return args.key_scale_offset != 0; }
  void ReadScales(const char* const* keys, int32_t count, float* key_scales,
                  float* value_scales) const;

  // Where the row's result belongs: [value_size] of the type, each to be multiplied by `factor`.
  // The final row, or the partial one if the item is part of a split key range.
  struct Target {
    DType dtype;
    char* data;
    float factor;
  };
  Target Output(int32_t row) const;

  // `maximum_log2` and `sum` are those of sum of 2^(score * log2 e - maximum_log2).
  void StoreLse(int32_t row, float maximum_log2, float sum) const;

  const KernelArgs& args;
  const WorkItem& item;
  const ItemRows rows;
};

}  // namespace tessera::kernel
