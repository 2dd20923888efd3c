// Writing, copying, moving and gathering of cache blocks in host memory, for every backend whose
// cache lies there.
#pragma once

#include <vector>

#include "tessera/backend.h"

namespace tessera {

// Quantises where the cache does: by the cache's own scales, or by one for each token and head that
// makes the largest magnitude the type's largest value.
void HostWriteKv(const AttentionSpec& spec, const AttentionBatch& batch, const WriteKvArgs& args,
                 const KvCache& cache, ThreadPool* threads);

void HostCopyBlocks(const AttentionSpec& spec, const KvCache& source, const KvCache& destination,
                    const std::vector<BlockPair>& pairs);

}  // namespace tessera
