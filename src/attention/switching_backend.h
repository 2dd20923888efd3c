// A backend that can be replaced between any two steps: all keep their keys in the same layout, so
// a sequence continues where another backend has left it.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "tessera/backend.h"

namespace tessera {

class SwitchingBackend : public Backend {
 public:
  // `backend` is in use at first; never null.
  explicit SwitchingBackend(std::shared_ptr<Backend> backend);

  // From each plan's next Prepare() on, which then makes the plan again, of the same capacity. The
  // caller has made sure that `backend` serves the layers. The one before lives as long as plans of
  // it do. Thread-safe.
  void Use(std::shared_ptr<Backend> backend);

  // Of the backend in use; between two Prepare() a plan's calls go to the backend that has made it.
  std::string Name() const override;
  Support Supports(const AttentionSpec& spec, int32_t block_size) const override;
  Result<std::unique_ptr<AttentionPlan>> NewPlan(const AttentionSpec& spec,
                                                 const PlanCapacity& capacity) override;
  Status Prepare(AttentionPlan* plan, const AttentionBatch& batch, Stream& stream) override;
  Status WriteKv(const AttentionPlan& plan, const AttentionBatch& batch, const WriteKvArgs& args,
                 const KvCache& cache, Stream& stream) override;
  Status Run(AttentionPlan* plan, const AttentionBatch& batch, const KvCache& cache,
             const RunArgs& args, Stream& stream) override;

 private:
  std::shared_ptr<Backend> current() const;

  mutable std::mutex mutex_;
  std::shared_ptr<Backend> current_;
};

}  // namespace tessera
