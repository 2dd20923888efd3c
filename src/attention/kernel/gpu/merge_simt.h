// Merging of partial results on a GPU: what MergeRows() does on a host.
#pragma once

#include <cstdint>

#include "attention/kernel/gpu/lane_elements.h"
#include "attention/kernel/kernel_args.h"
#include "device/gpu/simt.h"
#include "tessera/dtype.h"

namespace tessera::kernel::lanes {

// The state of row `row` in the merge's part `part`, as a row of the partial buffers.
SIMT_DEVICE int64_t PartialRow(const MergeItem& merge, int part, int row) {
  return part < merge.parts ? merge.partial_row + int64_t{part} * merge.row_count + row
                            : merge.shared_row + (part - merge.parts) * merge.shared_stride + row;
}

// `blocks_per_item` blocks of any number of threads share the rows of one merge item.
SIMT_DEVICE void MergeBlock(const KernelArgs& args, const MergeItem* merges, int blocks_per_item,
                            int threads) {
  constexpr float kLog2e = 1.44269504088896340736f, kMinusInfinity = -__builtin_inff();
  const MergeItem merge = merges[simt::Block() / blocks_per_item];
  const int parts = merge.parts + merge.shared_parts;
  for (int row = simt::Block() % blocks_per_item; row < merge.row_count; row += blocks_per_item) {
    float maximum = kMinusInfinity;
    for (int part = 0; part < parts; ++part) {
      maximum = simt::Max(maximum, args.partial_lse[PartialRow(merge, part, row)]);
    }
    const float reference = maximum == kMinusInfinity ? 0.0f : maximum;
    const int packed = merge.row_begin + row;
    const int64_t token = int64_t{args.query_start_loc[merge.seq]} + packed / args.group;
    const int64_t head = int64_t{merge.kv_head} * args.group + packed % args.group;
    for (int dim = simt::Thread(); dim < args.value_size; dim += threads) {
      float sum = 0.0f, value = 0.0f;
      for (int part = 0; part < parts; ++part) {
        const int64_t partial = PartialRow(merge, part, row);
        const float weight = simt::Exp2((args.partial_lse[partial] - reference) * kLog2e);
        sum += weight;
        value += weight * args.partial_output[partial * args.value_size + dim];
      }
      if (sum != 0.0f) value /= sum;  // otherwise no part saw a key
      const int64_t offset =
          token * args.output_token_stride + head * args.output_head_stride + dim;
      StoreElement(static_cast<DType>(args.output_dtype), args.output, offset,
                   value * args.inverse_output_scale);
      if (dim == 0 && args.lse != nullptr) {
        args.lse[token * args.num_heads + head] =
            sum != 0.0f ? reference + simt::Log2(sum) / kLog2e : kMinusInfinity;
      }
    }
  }
}

}  // namespace tessera::kernel::lanes
