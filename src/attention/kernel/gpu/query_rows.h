// An item's query rows as a thread block reads them from global memory.
#pragma once

#include <cstdint>

#include "attention/kernel/gpu/lane_elements.h"
#include "attention/kernel/item_rows.h"
#include "attention/kernel/kernel_args.h"
#include "device/gpu/simt.h"
#include "tessera/dtype.h"

namespace tessera::kernel::lanes {

// Rows are kHeadSize elements of kType, a 16-bit one; but kGeneral takes 8-bit queries as well,
// which become kType, and rows of at most kHeadSize elements, whose rest reads as 0.
template <DType kType, int kHeadSize, bool kGeneral>
class QueryRows {
 public:
  SIMT_METHOD QueryRows(const KernelArgs& args, const WorkItem& item) : args_(args), item_(item) {
    aligned_ = (reinterpret_cast<uintptr_t>(args.query) % 16 |
                (args.query_token_stride | args.query_head_stride) % 8) == 0;
    if constexpr (kGeneral) {
      aligned_ =
          aligned_ && args.head_size == kHeadSize && !IsByte(static_cast<DType>(args.query_dtype));
    }
  }

  // Elements `dim` and dim + 1; those of rows past the item's end are 0.
  SIMT_METHOD uint32_t Pair(int row, int dim) const {
    if (row >= item_.row_count) return 0;
    if constexpr (kGeneral) {
      const DType type = static_cast<DType>(args_.query_dtype);
      const void* from =
          static_cast<const uint8_t*>(args_.query) + Offset(row) * (IsByte(type) ? 1 : 2);
      return LoadQueryPair<kType>(type, from, dim, args_.head_size);
    } else {
      const uint16_t* from = static_cast<const uint16_t*>(args_.query) + Offset(row) + dim;
      return aligned_ ? simt::LoadWord(from) : simt::LoadPair(from);
    }
  }

  // The block's `threads` copy `rows` rows to shared memory, `stride` elements apart.
  SIMT_METHOD void Share(int rows, int threads, uint16_t* shared, int stride) const {
    constexpr int kPieces = kHeadSize / 8;
    for (int i = simt::Thread(); i < rows * kPieces; i += threads) {
      const int row = i / kPieces, dim = i % kPieces * 8;
      uint16_t* to = shared + row * stride + dim;
      if (aligned_) {
        const bool valid = row < item_.row_count;
        const uint16_t* query = static_cast<const uint16_t*>(args_.query);
        simt::CopyAsync16(to, query + (valid ? Offset(row) : 0) + dim, valid);
      } else {
        simt::StorePiece(
            to, {{Pair(row, dim), Pair(row, dim + 2), Pair(row, dim + 4), Pair(row, dim + 6)}});
      }
    }
  }

 private:
  SIMT_METHOD int64_t Offset(int row) const {
    return QueryOffset(args_, PlaceOfRow(args_, item_, row));
  }

  const KernelArgs& args_;
  const WorkItem& item_;
  bool aligned_;  // whether rows are kHeadSize elements of 16 bits, 16 bytes of which can be copied
                  // as one
};

}  // namespace tessera::kernel::lanes
