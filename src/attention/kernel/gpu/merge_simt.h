// Merging of partial results on a GPU: what MergeRows() does on a host.
#pragma once

#include <cstdint>

#include "attention/kernel/gpu/lane_elements.h"
#include "attention/kernel/gpu/lane_ops.h"
#include "attention/kernel/item_rows.h"
#include "attention/kernel/kernel_args.h"
#include "device/gpu/simt.h"
#include "tessera/dtype.h"

namespace tessera::kernel::lanes {

// `blocks_per_item` blocks of any number of threads share the rows of one merge item.
SIMT_DEVICE void MergeBlock(const KernelArgs& args, const MergeItem* merges, int blocks_per_item,
                            int threads) {
  const MergeItem merge = merges[simt::Block() / blocks_per_item];
  for (int row = simt::Block() % blocks_per_item; row < merge.row_count; row += blocks_per_item) {
    const RowPlace place = PlaceOfRow(args, merge, row);
    for (int dim = simt::Thread(); dim < args.value_size; dim += threads) {
      float value = 0.0f;
      const SoftmaxState<LaneOps> state = MergeParts<LaneOps>(
          merge.parts + merge.shared_parts, kLog2e,
          [&](int part) {
            return SoftmaxState<LaneOps>{args.partial_lse[PartialRow(merge, part, row)], 1.0f};
          },
          [&](int part, float weight) {
            value +=
                weight * args.partial_output[PartialRow(merge, part, row) * args.value_size + dim];
          });
      StoreElement(static_cast<DType>(args.output_dtype), args.output,
                   OutputOffset(args, place) + dim,
                   value * OutputFactor<LaneOps>(state.sum, args.inverse_output_scale));
      if (dim == 0 && args.lse != nullptr) {
        args.lse[LseOffset(args, place)] = Lse<LaneOps>(state.maximum, state.sum);
      }
    }
  }
}

}  // namespace tessera::kernel::lanes
