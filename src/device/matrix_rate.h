// How fast this machine multiplies: the physical limit of matrix products and of attention over
// long prompts.
#pragma once

#include <cstdint>

#include "tessera/thread_pool.h"

namespace tessera {

enum class MultiplyKind : uint8_t {
  kFloat32,   // fused multiply-adds of the widest vectors
  kBFloat16,  // AVX512-BF16's dot products of pairs
  kAmx,       // AMX's bfloat16 tiles, fed from the first-level cache: 2 x 2 tiles at a time
};

// "float32", "bfloat16 dots", "AMX".
const char* ToString(MultiplyKind kind);

// 10^9 operations (additions and multiplications) a second of all workers together, the fastest of
// some runs of a few milliseconds; 0 if the machine does not have the instructions. Must not be
// called inside the pool's Run.
double MeasureMultiplyRate(ThreadPool& pool, MultiplyKind kind);

}  // namespace tessera
