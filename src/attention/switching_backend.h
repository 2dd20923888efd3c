// A backend that can be replaced between any two steps: all keep their keys in the same layout, so
// a sequence goes on where another backend has left it.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tessera/backend.h"

namespace tessera {

class SwitchingBackend : public Backend {
 public:
  // `backend` is in use at first; never null.
  explicit SwitchingBackend(std::shared_ptr<Backend> backend);

  // From the next Plan() on. The caller has made sure that it serves the layers. The one before
  // lives as long as plans of it do. Thread-safe.
  void Use(std::shared_ptr<Backend> backend);

  // All of them of the backend in use; a plan is run by the backend that has made it.
  std::string Name() const override;
  Support Probe(const DeviceInfo& device) const override;
  Support Supports(const AttentionSpec& spec, int32_t block_size) const override;
  std::unique_ptr<AttentionPlan> Plan(const AttentionSpec& spec, const AttentionBatch& batch,
                                      std::unique_ptr<AttentionPlan> reuse) override;
  void WriteKv(const AttentionSpec& spec, const AttentionBatch& batch, const WriteKvArgs& args,
               const KvCache& cache) override;
  void Run(const AttentionPlan& plan, const AttentionSpec& spec, const AttentionBatch& batch,
           const KvCache& cache, const RunArgs& args) override;
  void CopyBlocks(const AttentionSpec& spec, const KvCache& cache,
                  const std::vector<BlockPair>& pairs) override;
  void SwapBlocks(const AttentionSpec& spec, const KvCache& source, const KvCache& destination,
                  const std::vector<BlockPair>& pairs) override;

 private:
  std::shared_ptr<Backend> current() const;

  mutable std::mutex mutex_;
  std::shared_ptr<Backend> current_;
};

}  // namespace tessera
