// One item of the plan as the kernels here see it: where its queries, keys and results lie, and
// which keys each of its rows sees. No instruction set is asked for.
#pragma once

#include <cstdint>

#include "attention/kernel/kernel_args.h"
#include "attention/kernel/key_range.h"
#include "tessera/dtype.h"

namespace tessera::x86 {

class ItemRows {
 public:
  ItemRows(const kernel::KernelArgs& args, const kernel::WorkItem& item);

  // The keys that row `row` sees, cut to the item's own range.
  kernel::KeyRange Visible(int32_t row) const;

  // The row's query: [head_size] of args.query_dtype.
  const char* Query(int32_t row) const;

  // Where keys first .. first + count - 1 lie, their values likewise; `element_size` in bytes.
  void FindKeys(int32_t first, int32_t count, int64_t element_size, const char** keys,
                const char** values) const;

  // Where the row's result belongs: [value_size] of the type. The final row, or the partial one if
  // the item is part of a split key range.
  struct Target {
    DType dtype;
    char* data;
  };
  Target Output(int32_t row) const;

  // `maximum_log2` and `sum` are those of sum of 2^(score * log2 e - maximum_log2).
  void StoreLse(int32_t row, float maximum_log2, float sum) const;

  // The row's sink in units of log2, a score without a value: -infinity where there is none, or
  // where another part of the row's key range counts it.
  float SinkLog2(int32_t row) const;

  const kernel::KernelArgs& args;
  const kernel::WorkItem& item;

 private:
  // Of the query and of the output; the head among all of them.
  struct Place {
    int64_t token;
    int64_t head;
  };
  Place PlaceOf(int32_t row) const;

  const kernel::ItemRows rows_;
};

}  // namespace tessera::x86
