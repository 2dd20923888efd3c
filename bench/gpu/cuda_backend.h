// The portable kernel's mma instances on an NVIDIA GPU, behind the Backend interface: a host
// program's stand-in until the engine has CUDA devices. Everything is copied to the device and back
// for each run, so it serves for checking results, not for speed.
#pragma once

#include <memory>

#include "tessera/backend.h"

namespace tessera {

std::unique_ptr<Backend> CreateCudaCheckBackend(const BackendContext& context);

}  // namespace tessera
