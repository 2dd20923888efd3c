// Writing, copying and moving of cache blocks in host memory, for every backend whose cache lies
// there.
#pragma once

#include <vector>

#include "tessera/backend.h"

namespace tessera {

void HostWriteKv(const AttentionSpec& spec, const AttentionBatch& batch, const WriteKvArgs& args,
                 const KvCache& cache, ThreadPool* threads);

void HostCopyBlocks(const AttentionSpec& spec, const KvCache& source, const KvCache& destination,
                    const std::vector<BlockPair>& pairs);

}  // namespace tessera
