#include <exception>
#include <utility>

#include "device/gpu/emulator/emulated_driver.h"
#include "device/gpu/emulator/simt_emulator.h"
#include "device/gpu/simt_device.h"

namespace tessera {
namespace {

namespace emulator = simt::emulator;

class SimtDriver final : public EmulatedDriver {
 public:
  explicit SimtDriver(SimtDeviceOptions options) : options_(std::move(options)) {}

  std::string DeviceName() const override { return "simt-emulated"; }
  bool NeedsMachineCode() const override { return false; }

  Code Describe(int /*index*/, GpuFacts* facts) override {
    facts->info.kind = DeviceKind::kSimt;
    facts->info.name = "lock-step emulator, " + options_.matrix_policy;
    facts->info.arch = "simt";
    facts->info.num_units = 16;
    facts->info.memory_bytes = TotalMemoryBytes();
    facts->info.l2_bytes = int64_t{1} << 20;
    facts->max_shared_bytes = emulator::kSharedBytes;
    facts->matrix_policy = options_.matrix_policy;
    return 0;
  }

  Code LoadModule(const KernelImage& image, Handle* module) override {
    *module = new KernelImage(image);
    return 0;
  }
  Code UnloadModule(Handle module) override {
    delete static_cast<KernelImage*>(module);
    return 0;
  }
  Code Find(Handle module, const std::string& name, int64_t /*shared_bytes*/,
            Handle* function) override {
    for (const HostKernel& kernel : static_cast<KernelImage*>(module)->functions) {
      if (name != kernel.name) continue;
      *function = const_cast<HostKernel*>(&kernel);
      return 0;
    }
    return Failure("the module has no such function");
  }

 protected:
  Status RunKernel(Handle function, const LaunchShape& shape, const void* args,
                   size_t /*bytes*/) override {
    const auto& kernel = *static_cast<const HostKernel*>(function);
    try {
      emulator::Launch({.blocks = static_cast<int>(shape.blocks),
                        .threads = shape.threads,
                        .wave = shape.wave,
                        .seed = options_.seed},
                       [&] { kernel.run(args); });
    } catch (const std::exception& error) {
      return Internal(std::string(kernel.name) + ": " + error.what());
    }
    return {};
  }

 private:
  const SimtDeviceOptions options_;
};

}  // namespace

std::unique_ptr<GpuDriverTable> CreateSimtDriver(const SimtDeviceOptions& options) {
  return std::make_unique<SimtDriver>(options);
}

Result<std::unique_ptr<GpuDevice>> OpenSimtDevice(const SimtDeviceOptions& options) {
  const std::string& policy = options.matrix_policy;
  if (policy != "mma" && policy != "mfma" && policy != "wmma" && policy != "wmma11") {
    return NotFound("simt-emulated knows no matrix instructions '" + policy +
                    "'; choose mma, mfma, wmma or wmma11");
  }
  return OpenGpu(CreateSimtDriver(options), 0, {});
}

}  // namespace tessera
