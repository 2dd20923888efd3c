#include <memory>
#include <utility>

#include "base/environment.h"
#include "device/gpu/gpu_device.h"
#include "ops/cpu/cpu_ops.h"
#include "ops/gpu/gpu_ops.h"
#include "ops/ops.h"

namespace tessera {

Result<std::unique_ptr<Ops>> CreateOps(Device* device, Stream* stream, ThreadPool* threads,
                                       const OpsOptions& options) {
  if (device->info().kind == DeviceKind::kCpu) return CreateCpuOps(device, stream, threads);
  if (!IsGpu(*device)) {
    return Unsupported("this build has no operations for the device " + device->info().name);
  }
  TESSERA_ASSIGN_OR_RETURN(const bool use_library,
                           Environment::OfProcess().Bool("TESSERA_BLAS", true));
  TESSERA_ASSIGN_OR_RETURN(
      std::unique_ptr<GpuOps> ops,
      CreateGpuOps(static_cast<GpuDevice*>(device), static_cast<GpuStream*>(stream),
                   {.use_library = use_library, .batch_invariant = options.batch_invariant}));
  return std::unique_ptr<Ops>(std::move(ops));
}

}  // namespace tessera
