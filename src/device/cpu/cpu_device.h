// What the devices whose kernels are code of the host have in common.
#pragma once

#include <cstdint>

#include "tessera/device.h"

namespace tessera {

// Runs everything in the call.
class CpuStream : public Stream {
 public:
  void Copy(void* to, const void* from, int64_t bytes) override;
  void Fill(void* to, uint8_t byte, int64_t bytes) override;
  void Wait(const Stream& /*other*/) override {}
  Status Synchronize() override { return {}; }
  Status BeginCapture() override;
  Result<std::unique_ptr<Graph>> EndCapture() override;
  void Launch(const Graph& graph) override;
};

// Zeroed memory of the host, as base/memory.h has it.
Result<Buffer> AllocateHostBuffer(int64_t bytes);

}  // namespace tessera
