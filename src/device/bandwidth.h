// How fast this machine reads memory: the physical limit of everything that streams weights or a KV
// cache.
#pragma once

#include <cstdint>

#include "tessera/result.h"
#include "tessera/thread_pool.h"

namespace tessera {

struct ReadBandwidth {
  // 10^9 bytes a second, of all workers together.
  double best = 0;
  double median = 0;
};

// Reads `bytes` of memory `passes` times, all workers of `pool` at once, each in two sequential
// streams, on huge pages if the system grants them. Memory lies on the NUMA node of its reader.
// A buffer below some multiples of the last-level cache measures that cache.
//
// kInvalidArgument unless passes >= 1 and bytes >= 4096 per worker; kOutOfMemory.
// Must not be called inside the pool's Run.
Result<ReadBandwidth> MeasureReadBandwidth(ThreadPool& pool, int64_t bytes, int passes = 5);

// The same where memory lies in pieces of `piece_bytes` in random order, as the pages of a KV cache
// do: each worker reads piece after piece and prefetches the one that comes next. What lies between
// this and the above is the price of paging, which no kernel gets around.
//
// Errors as above; piece_bytes is a positive multiple of 64, and there is a piece for each worker.
Result<ReadBandwidth> MeasurePagedReadBandwidth(ThreadPool& pool, int64_t bytes,
                                                int64_t piece_bytes, int passes = 5);

}  // namespace tessera
