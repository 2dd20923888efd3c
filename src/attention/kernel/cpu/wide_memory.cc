#include "attention/kernel/cpu/wide_memory.h"

#include <algorithm>
#include <utility>

#include "attention/kernel/cpu/scalar_ops.h"
#include "tessera/dtype.h"

namespace tessera::kernel {

namespace {

int64_t Floats(int32_t head_size, int32_t value_size) {
  const int64_t query_stride = WideMemory::Padded(head_size);
  const int64_t value_stride = WideMemory::Padded(value_size);
  return WideMemory::kMaxRows * (query_stride + value_stride + WideMemory::kMaxKeys) +
         WideMemory::kMaxKeys * (query_stride + value_stride);
}

}  // namespace

int64_t WideMemory::Bytes(int32_t head_size, int32_t value_size) {
  return Floats(head_size, value_size) * static_cast<int64_t>(sizeof(float));
}

int32_t WideMemory::MaxRows(int32_t head_size, int32_t value_size) {
  return head_size + value_size <= 512 ? kMaxRows : kMaxRows / 2;
}

WideMemory::WideMemory(const KernelArgs& kernel_args, const WorkItem& work_item, void* memory)
    : rows(kernel_args, work_item),
      args(rows.args),
      query_stride(Padded(kernel_args.head_size)),
      value_stride(Padded(kernel_args.value_size)) {
  query = static_cast<float*>(memory);
  output = query + int64_t{kMaxRows} * query_stride;
  scores = output + int64_t{kMaxRows} * value_stride;
  keys = scores + int64_t{kMaxRows} * kMaxKeys;
  values = keys + int64_t{kMaxKeys} * query_stride;
}

void WideMemory::LoadQuery(float factor) {
  for (int32_t r = 0; r < rows.item.row_count; ++r) {
    float* row = query + int64_t{r} * query_stride;
    ConvertToFloat(static_cast<DType>(args.query_dtype), rows.Query(r), args.head_size, row);
    for (int32_t d = 0; d < args.head_size; ++d) row[d] *= factor;
    for (int32_t d = args.head_size; d < query_stride; ++d) row[d] = 0.0f;
  }
}

void WideMemory::Fetch(int32_t left, int32_t step, int64_t element_size) {
  next_count = std::min(left, step);
  if (next_count <= 0) return;
  rows.FindKeys(rows.item.key_end - left, next_count, element_size, next_key_rows, next_value_rows);
}

void WideMemory::Deposit() {
  std::swap(key_rows, next_key_rows);
  std::swap(value_rows, next_value_rows);
  count = next_count;
  if (rows.HasTokenScales()) rows.ReadScales(key_rows, count, key_scales, value_scales);
}

void WideMemory::Finish(const float* maximum, const float* sum, float scale) {
  for (int32_t r = 0; r < rows.item.row_count; ++r) {
    float* row = output + int64_t{r} * value_stride;
    const CpuRows::Target target = rows.Output(r);
    const float factor = scalar::OutputFactor<ScalarOps>(sum[r], scale * target.factor);
    for (int32_t d = 0; d < args.value_size; ++d) row[d] *= factor;
    ConvertFromFloat(target.dtype, row, args.value_size, target.data);
    rows.StoreLse(r, maximum[r], sum[r]);
  }
}

}  // namespace tessera::kernel
