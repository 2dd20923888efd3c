#include "read_memory.h"

#include "device/gpu/simt.h"

namespace tessera::bench {

SIMT_KERNEL(read_memory, ReadArgs, kReadThreads, 2) {
  constexpr int kAhead = 8;  // pieces of a thread under way
  const int64_t step = args.blocks * kReadThreads;
  int64_t at = int64_t{simt::Block()} * kReadThreads + simt::Thread();
  uint32_t bits = 0;
  for (; at + (kAhead - 1) * step < args.pieces; at += kAhead * step) {
    simt::Piece pieces[kAhead];
    SIMT_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      pieces[i] = simt::LoadPiece(static_cast<const char*>(args.data) + 16 * (at + i * step));
    }
    SIMT_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      bits |= pieces[i].words[0] ^ pieces[i].words[1] ^ pieces[i].words[2] ^ pieces[i].words[3];
    }
  }
  if (bits == 0x9e3779b9u) *args.unused = bits;
}

SIMT_KERNELS(SIMT_ENTRY(read_memory));

}  // namespace tessera::bench
