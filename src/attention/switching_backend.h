// Several backends behind one, of which another can be chosen between any two steps: all keep their
// keys in the same layout, so a sequence goes on where another backend has left it.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "tessera/backend.h"

namespace tessera {

class SwitchingBackend : public Backend {
 public:
  // At least one backend; the first is in use.
  explicit SwitchingBackend(std::vector<std::unique_ptr<Backend>> backends);

  // From the next Plan() on. Thread-safe.
  void Use(size_t index);
  size_t in_use() const { return current_.load(); }
  size_t size() const { return backends_.size(); }

  // Of the backend in use.
  std::string Name() const override;
  Support Probe(const DeviceInfo& device) const override;

  // What all of them can do; the reasons name the backend.
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
  Backend& current() const { return *backends_[current_.load()]; }

  std::vector<std::unique_ptr<Backend>> backends_;
  std::atomic<size_t> current_{0};
};

}  // namespace tessera
