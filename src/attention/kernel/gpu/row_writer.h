// Where a lane of a GPU puts a row's result.
#pragma once

#include <cstdint>

#include "attention/kernel/gpu/lane_elements.h"
#include "attention/kernel/gpu/lane_ops.h"
#include "attention/kernel/item_rows.h"
#include "attention/kernel/kernel_args.h"
#include "device/gpu/simt.h"
#include "tessera/dtype.h"

namespace tessera::kernel::lanes {

// Where one row of the result goes: into the output, or among the partial ones. The output is
// float32 or bfloat16 and rows have `value_size` elements, an even number; but kGeneral writes
// every type of output and rows of any size, whose excess it drops.
template <bool kGeneral>
class RowWriter {
 public:
  SIMT_METHOD RowWriter(const KernelArgs& args, const WorkItem& item, int row, int value_size)
      : args_(args), value_size_(value_size) {
    if (item.partial_row >= 0) {
      float32_ = args.partial_output + (item.partial_row + row) * value_size;
      lse_ = args.partial_lse + item.partial_row + row;
      return;
    }
    const RowPlace place = PlaceOfRow(args, item, row);
    const int64_t offset = OutputOffset(args, place);
    if constexpr (kGeneral) {
      offset_ = offset;
    } else if (args.output_dtype == static_cast<uint8_t>(DType::kFloat32)) {
      float32_ = static_cast<float*>(args.output) + offset;
    } else {
      bfloat16_ = static_cast<uint16_t*>(args.output) + offset;
    }
    if (args.lse != nullptr) lse_ = args.lse + LseOffset(args, place);
  }
  SIMT_METHOD void Pair(int dim, float low, float high) const {
    if constexpr (kGeneral) {
      if (dim < value_size_) Element(dim, low);
      if (dim + 1 < value_size_) Element(dim + 1, high);
    } else if (float32_ != nullptr) {
      float32_[dim] = low;
      float32_[dim + 1] = high;
    } else if (reinterpret_cast<uintptr_t>(bfloat16_) % 4 == 0) {
      simt::StoreWord(bfloat16_ + dim, simt::PackBFloat16(low, high));
    } else {
      bfloat16_[dim] = static_cast<uint16_t>(simt::BFloat16Bits(low));
      bfloat16_[dim + 1] = static_cast<uint16_t>(simt::BFloat16Bits(high));
    }
  }
  SIMT_METHOD void Lse(float maximum, float sum) const {
    if (lse_ != nullptr) *lse_ = lanes::Lse<LaneOps>(maximum * kLn2, sum);
  }

 private:
  SIMT_METHOD void Element(int dim, float value) const {
    if (float32_ != nullptr) {
      float32_[dim] = value;
    } else {
      StoreElement(static_cast<DType>(args_.output_dtype), args_.output, offset_ + dim,
                   value * args_.inverse_output_scale);
    }
  }

  const KernelArgs& args_;
  int value_size_;
  int64_t offset_ = 0;
  float* float32_ = nullptr;
  uint16_t* bfloat16_ = nullptr;
  float* lse_ = nullptr;
};

}  // namespace tessera::kernel::lanes
