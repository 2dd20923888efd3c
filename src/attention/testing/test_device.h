// Devices, backends and arrays of devices, for tests.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tessera/registry.h"

namespace tessera::testing {

// All backends of the build that this device can run, in order of name.
std::vector<std::unique_ptr<Backend>> UsableBackends(const BackendContext& context);

// One of them. Must be usable.
std::unique_ptr<Backend> CreateByName(const std::string& name, const BackendContext& context);

// The batch with the host's arrays as those of the device, which must be `cpu`.
AttentionBatch OnHost(AttentionBatch batch);

// One step of one layer on `cpu`: makes and prepares a plan, and runs it.
Status PlanAndRun(Backend* backend, const AttentionSpec& spec, const AttentionBatch& batch,
                  const KvCache& cache, const RunArgs& args, Device* device);

// Memory of a device, and a stream to fill and read it. The device outlives it.
class DeviceArrays {
 public:
  explicit DeviceArrays(Device* device);

  Stream& stream() { return *stream_; }
  void* Allocate(int64_t bytes);

  // Returns a copy of the host's memory; null for none.
  void* Copy(const void* data, int64_t bytes);
  template <typename T>
  T* Copy(const std::vector<T>& values) {
    return static_cast<T*>(Copy(values.data(), static_cast<int64_t>(values.size() * sizeof(T))));
  }

  // Reads an array of the device.
  void Read(const void* from, int64_t bytes, void* to);
  template <typename T>
  void Read(const void* from, std::vector<T>* to) {
    Read(from, static_cast<int64_t>(to->size() * sizeof(T)), to->data());
  }

 private:
  Device* const device_;
  const std::unique_ptr<Stream> stream_;
  std::vector<Buffer> buffers_;
};

}  // namespace tessera::testing
