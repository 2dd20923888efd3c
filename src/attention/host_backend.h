// What backends whose cache lies in host memory have in common: writing and moving it.
#pragma once

#include <vector>

#include "attention/cache_ops.h"
#include "tessera/backend.h"

namespace tessera {

class HostBackend : public Backend {
 public:
  void WriteKv(const AttentionSpec& spec, const AttentionBatch& batch, const WriteKvArgs& args,
               const KvCache& cache) override {
    HostWriteKv(spec, batch, args, cache, threads_);
  }

  void CopyBlocks(const AttentionSpec& spec, const KvCache& cache,
                  const std::vector<BlockPair>& pairs) override {
    HostCopyBlocks(spec, cache, cache, pairs);
  }

  void SwapBlocks(const AttentionSpec& spec, const KvCache& source, const KvCache& destination,
                  const std::vector<BlockPair>& pairs) override {
    HostCopyBlocks(spec, source, destination, pairs);
  }

 protected:
  explicit HostBackend(const BackendContext& context) : threads_(context.threads) {}

  ThreadPool* threads_;
};

}  // namespace tessera
