// The portable backend on GPUs: one host side for all of them, the emulated ones included.
#pragma once

#include <memory>

#include "tessera/backend.h"
#include "tessera/result.h"

namespace tessera {

// Whether this build has the kernels for such a GPU.
Support ProbeGpuPortable(const DeviceInfo& device);

// context.device is a GpuDevice that the probe accepts. Fails if its driver refuses the kernels.
Result<std::unique_ptr<Backend>> CreateGpuPortable(const BackendContext& context);

}  // namespace tessera
