// Reads memory and does nothing with it: what the chip can do.
#include "read_kernels.h"

#include "device/gpu/simt.h"

namespace tessera {

SIMT_KERNEL(read_all, ReadArgs, kReadThreads, 1) {
  const auto* const data = static_cast<const simt::Piece*>(args.data);
  uint32_t sum = 0;
  for (int64_t i = int64_t{simt::Block()} * kReadThreads * kReadLoads + simt::Thread();
       i + (kReadLoads - 1) * kReadThreads < args.pieces; i += args.step) {
    simt::Piece pieces[kReadLoads];
    SIMT_UNROLL
    for (int j = 0; j < kReadLoads; ++j) pieces[j] = simt::LoadPiece(data + i + j * kReadThreads);
    SIMT_UNROLL
    for (int j = 0; j < kReadLoads; ++j) {
      sum += pieces[j].words[0] ^ pieces[j].words[1] ^ pieces[j].words[2] ^ pieces[j].words[3];
    }
  }
  if (sum == 0x12345678u) *args.out = sum;  // never, which no compiler knows
}

SIMT_KERNELS(SIMT_ENTRY(read_all));

}  // namespace tessera
