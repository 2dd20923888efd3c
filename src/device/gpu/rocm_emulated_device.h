// `rocm-emulated`: a GPU of AMD's whose machine code, of gfx942, an interpreter executes
// (src/device/gpu/gfx942): what clang makes of the kernels runs where no such GPU is.
#pragma once

#include <memory>

#include "device/gpu/gpu_device.h"
#include "device/gpu/gpu_driver.h"
#include "tessera/result.h"

namespace tessera {

std::unique_ptr<GpuDriverTable> CreateRocmEmulatedDriver();

// Fails if the build has no code for gfx942, or not its text.
Result<std::unique_ptr<GpuDevice>> OpenRocmEmulatedDevice();

}  // namespace tessera
