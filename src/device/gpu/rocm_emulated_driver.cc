#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "device/gpu/built_architectures.h"
#include "device/gpu/emulator/emulated_driver.h"
#include "device/gpu/gfx942/launcher.h"
#include "device/gpu/gfx942/module.h"
#include "device/gpu/gfx942/packed_listing.h"
#include "device/gpu/rocm_emulated_device.h"
#include "tessera/thread_pool.h"

namespace tessera {
namespace {

Result<std::unique_ptr<gfx942::Module>> Load(const KernelImage& image) {
  if constexpr (TESSERA_GFX942_LISTINGS) {  // else there is no UnpackListing
    TESSERA_ASSIGN_OR_RETURN(std::string listing, gfx942::UnpackListing(image.listing));
    return gfx942::Module::Load(image.code, std::move(listing));
  }
  return gfx942::Module::Load(image.code, std::string(image.listing));
}

class RocmEmulatedDriver final : public EmulatedDriver {
 public:
  RocmEmulatedDriver() : launcher_(&pool_) {}

  std::string DeviceName() const override { return "rocm-emulated"; }

  Code Describe(int /*index*/, GpuFacts* facts) override {
    facts->info.kind = DeviceKind::kHip;
    facts->info.name = "rocm-emulated (gfx942 interpreter)";
    facts->info.arch = "gfx942";
    facts->info.num_units = 4;
    facts->info.memory_bytes = TotalMemoryBytes();
    facts->info.l2_bytes = int64_t{4} << 20;
    facts->max_shared_bytes = gfx942::kMaxLdsBytes;
    facts->matrix_policy = "mfma";
    return 0;
  }

  Code LoadModule(const KernelImage& image, Handle* module) override {
    if (image.listing.empty()) {
      return Failure(
          "the build had no llvm-objdump-19 to write its code as text, or no zlib to pack that: "
          "install llvm-19 and zlib1g-dev");
    }
    const std::lock_guard lock(modules_mutex_);
    std::unique_ptr<gfx942::Module>& kept = modules_[image.code.data()];
    if (kept == nullptr) {
      auto loaded = Load(image);
      if (!loaded.ok()) return Failure(loaded.error().message);
      kept = std::move(loaded).value();
    }
    *module = kept.get();
    return 0;
  }
  // Kept, with its decoded kernels, for the next load of the same code.
  Code UnloadModule(Handle /*module*/) override { return 0; }
  Code Find(Handle module, const std::string& name, int64_t /*shared_bytes*/,
            Handle* function) override {
    const std::lock_guard lock(modules_mutex_);
    auto kernel = static_cast<gfx942::Module*>(module)->Find(name);
    if (!kernel.ok()) return Failure(kernel.error().message);
    *function = const_cast<gfx942::Kernel*>(*kernel);
    return 0;
  }

 protected:
  Status RunKernel(Handle function, const LaunchShape& shape, const void* args,
                   size_t bytes) override {
    gfx942::KernelLaunch launch{
        .kernel = static_cast<const gfx942::Kernel*>(function),
        .blocks = shape.blocks,
        .threads = shape.threads,
        // A kernel for AMD's GPUs has its LDS itself; what is asked for is the same.
        .lds_bytes = 0,
        .arguments = {static_cast<const unsigned char*>(args), bytes}};
    ForEachAllocation([&](const void* data, int64_t size) {
      const auto begin = reinterpret_cast<uint64_t>(data);
      launch.memory.push_back({begin, begin + static_cast<uint64_t>(size), true});
    });
    return launcher_.Run(launch);
  }

 private:
  std::mutex modules_mutex_;
  std::map<const unsigned char*, std::unique_ptr<gfx942::Module>> modules_;  // by their code
  ThreadPool pool_;
  gfx942::Launcher launcher_;
};

}  // namespace

std::unique_ptr<GpuDriverTable> CreateRocmEmulatedDriver() {
  return std::make_unique<RocmEmulatedDriver>();
}

Result<std::unique_ptr<GpuDevice>> OpenRocmEmulatedDevice() {
  if (!TESSERA_GFX942_LISTINGS) {
    return Unsupported(
        "rocm-emulated: this build had no clang++-19, llvm-objdump-19 or zlib, which make, list "
        "and pack the code that it executes: install clang-19, lld-19, llvm-19 and zlib1g-dev, "
        "and configure again");
  }
  return OpenGpu(CreateRocmEmulatedDriver(), 0, BuiltArchitectures());
}

}  // namespace tessera
