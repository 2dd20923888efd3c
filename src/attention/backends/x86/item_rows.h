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

  // Scales of the `count` keys at `keys` (of FindKeys()) and of their values, where the cache keeps
  // such by token and head.
  bool HasTokenScales() const { return args.key_scale_offset != 0; }
  void ReadScales(const char* const* keys, int32_t count, float* key_scales,
                  float* value_scales) const;

  // What a score is multiplied by: that of the softmax times the KV head's of K. Its sign goes into
  // the query, so that scores can be compared before they are scaled by ScaleSize(): never 0.
  float QuerySign() const { return scale_ < 0 ? -1.0f : scale_ > 0 ? 1.0f : scale_; }
  float ScaleSize() const { return scale_ < 0 ? -scale_ : scale_ > 0 ? scale_ : 1.0f; }

  // What is added to a row's scores.
  bool HasBias() const { return args.alibi_slopes != nullptr || args.query_query_bias != nullptr; }
  struct Bias {
    float slope;         // ALiBi's; 0: none
    int32_t position;    // of the row
    const float* query;  // [new_end - new_begin], for the request's new tokens, or null
    int32_t new_begin;   // keys
    int32_t new_end;
  };
  Bias BiasOf(int32_t row) const;

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

  // The scale of the item's KV head, or of the tensor; `scales` may be null.
  float HeadScale(const float* scales) const {
    return scales != nullptr ? scales[item.kv_head * args.scale_head_stride] : 1.0f;
  }

  const kernel::ItemRows rows_;
  const float scale_;
};

}  // namespace tessera::x86
