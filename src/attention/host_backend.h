// What backends that compute with code of the host have in common: writing the cache.
#pragma once

#include "attention/cache_ops.h"
#include "tessera/backend.h"

namespace tessera {

class HostBackend : public Backend {
 public:
  Status WriteKv(const AttentionPlan& plan, const AttentionBatch& batch, const WriteKvArgs& args,
                 const KvCache& cache, Stream& stream) override {
    const HostAccess access(stream);
    HostWriteKv(plan.spec(), batch, args, cache, threads_);
    return {};
  }

 protected:
  explicit HostBackend(const BackendContext& context)
      : device_(context.device), threads_(context.threads) {}

  Device* const device_;
  ThreadPool* const threads_;
};

}  // namespace tessera
