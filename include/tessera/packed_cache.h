// Cache formats of particular kernels, and the ways between them and the standard layout.
//
// A packed cache is all blocks of K, then all blocks of V; x is 16 bytes' worth of elements.
// Shapes: vLLM's csrc/attention/attention_kernels.cuh (x-split), AITER's shuffled layout for its
// assembly kernels.
#pragma once

#include <cstdint>
#include <vector>

#include "tessera/attention_spec.h"
#include "tessera/backend.h"
#include "tessera/kv_cache.h"
#include "tessera/result.h"

namespace tessera {

const char* ToString(KvPacking packing);  // "standard", "x-split", "shuffle"

// Whether blocks of this shape can be packed so: sizes must divide evenly.
Status ValidatePacking(KvPacking packing, const KvCacheShape& shape, DType dtype);

// One layer's packed cache over memory of KvCacheElements(shape) elements. The packing is valid;
// scales by token and head have no place in it.
KvCache MakePackedKvCache(KvPacking packing, const KvCacheShape& shape, DType dtype, void* data);

// Elements from cache.data to component `i` of K or V of one token, in any packing.
int64_t KeyElement(const AttentionSpec& spec, const KvCache& cache, int64_t block, int64_t head,
                   int64_t token, int64_t i);
int64_t ValueElement(const AttentionSpec& spec, const KvCache& cache, int64_t block, int64_t head,
                     int64_t token, int64_t i);

// Whole blocks to copy.
struct BlockPair {
  int64_t source = 0;
  int64_t destination = 0;
};

// Whole blocks from a cache of one packing to one of another; types and block sizes agree. In host
// memory.
void ConvertBlocks(const AttentionSpec& spec, const KvCache& source, const KvCache& destination,
                   const std::vector<BlockPair>& pairs);

// The keys and values of one sequence, unscaled, as dense arrays.
struct GatherArgs {
  const int32_t* blocks = nullptr;  // the sequence's row of the block table
  int32_t first = 0;                // its first token that is wanted
  int32_t count = 0;
  DType dtype = DType::kFloat32;
  void* key = nullptr;    // [count, num_kv_heads, head_size] of dtype
  void* value = nullptr;  // [count, num_kv_heads, value_size] of dtype
};

// vLLM's gather_and_maybe_dequant_cache. In host memory.
void GatherCache(const AttentionSpec& spec, const KvCache& cache, const GatherArgs& args);

}  // namespace tessera
