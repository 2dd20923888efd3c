// `simt-emulated`: a GPU whose kernels are functions of the host, on the lock-step emulator.
#pragma once

#include <memory>
#include <string>

#include "device/gpu/gpu_device.h"
#include "device/gpu/gpu_driver.h"
#include "tessera/result.h"

namespace tessera {

struct SimtDeviceOptions {
  std::string matrix_policy = "mma";  // or "mfma", "wmma", "wmma11"
  unsigned seed = 1;  // permutes the order in which emulated threads run; 0: in order
};

std::unique_ptr<GpuDriverTable> CreateSimtDriver(const SimtDeviceOptions& options = {});

// Fails if there is no such policy.
Result<std::unique_ptr<GpuDevice>> OpenSimtDevice(const SimtDeviceOptions& options = {});

}  // namespace tessera
