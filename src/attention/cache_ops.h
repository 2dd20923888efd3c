// Writing of new keys and values with code of the host, for every backend that computes there.
#pragma once

#include "tessera/backend.h"

namespace tessera {

// Quantises if the cache does: by the cache's own scales, or by one for each token and head that
// makes the largest magnitude the type's largest value. Follows the batch's device arrays: on a
// CPU, under a HostAccess. Allocates nothing.
void HostWriteKv(const AttentionSpec& spec, const AttentionBatch& batch, const WriteKvArgs& args,
                 const KvCache& cache, ThreadPool* threads);

}  // namespace tessera
