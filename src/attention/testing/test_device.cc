#include "attention/testing/test_device.h"

#include <utility>

namespace tessera::testing {

std::vector<std::unique_ptr<Backend>> UsableBackends(const BackendContext& context) {
  std::vector<std::unique_ptr<Backend>> backends;
  for (const BackendEntry& entry : BackendEntries()) {
    if (!entry.probe(context.device->info()).ok()) continue;
    backends.push_back(entry.create(context).value());
  }
  return backends;
}

std::unique_ptr<Backend> CreateByName(const std::string& name, const BackendContext& context) {
  for (std::unique_ptr<Backend>& backend : UsableBackends(context)) {
    if (backend->Name() == name) return std::move(backend);
  }
  TESSERA_CHECK(false, "no backend of this name: " + name);
  return nullptr;
}

AttentionBatch OnHost(AttentionBatch batch) {
  batch.device = batch.host;
  return batch;
}

Status PlanAndRun(Backend* backend, const AttentionSpec& spec, const AttentionBatch& batch,
                  const KvCache& cache, const RunArgs& args, Device* device) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Stream> stream, device->NewStream());
  TESSERA_ASSIGN_OR_RETURN(
      const std::unique_ptr<AttentionPlan> plan,
      backend->NewPlan(spec, {.max_seqs = batch.num_seqs, .max_tokens = batch.num_tokens}));
  TESSERA_RETURN_IF_ERROR(backend->Prepare(plan.get(), batch, *stream));
  TESSERA_RETURN_IF_ERROR(backend->Run(plan.get(), batch, cache, args, *stream));
  return stream->Synchronize();
}

DeviceArrays::DeviceArrays(Device* device)
    : device_(device), stream_(device->NewStream().value()) {}

void* DeviceArrays::Allocate(int64_t bytes) {
  buffers_.push_back(device_->Allocate(bytes, MemoryKind::kDevice).value());
  return buffers_.back().data();
}

void* DeviceArrays::Copy(const void* data, int64_t bytes) {
  if (data == nullptr) return nullptr;
  void* const copy = Allocate(bytes);
  stream_->Copy(copy, data, bytes);
  return copy;
}

void DeviceArrays::Read(const void* from, int64_t bytes, void* to) {
  stream_->Copy(to, from, bytes);
  const Status status = stream_->Synchronize();
  TESSERA_CHECK(status.ok(), status.ok() ? "" : status.error().message);
}

}  // namespace tessera::testing
