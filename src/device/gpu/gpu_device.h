// A GPU as a Device: one class over a table of driver functions (gpu_driver.h), for CUDA, HIP and
// the emulators alike. Operations and backends of GPUs know this class and no driver.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "tessera/device.h"
#include "tessera/result.h"

namespace tessera {

// A kernel as a function of the host, for the lock-step emulator.
struct HostKernel {
  const char* name;
  void (*run)(const void* args);  // one thread of it
};

// A module as the build made it for one architecture: machine code, or functions of the host.
struct KernelImage {
  const char* arch;                            // "sm_90a", "gfx942", "simt"
  std::span<const unsigned char> code = {};    // a cubin or a code object
  std::span<const HostKernel> functions = {};  // of "simt"
  // Of gfx942: the code as text, for rocm-emulated, packed (gfx942/packed_listing.h). Empty if the
  // build had no llvm-objdump-19 or no zlib.
  std::string_view listing = {};
};

// A module for every architecture that it was built for: one source file (TesseraDeviceCode.cmake).
struct KernelModule {
  const char* name;  // of the source file, without its ending
  std::span<const KernelImage> images;
};

// One launch's shape. Grids and blocks have one dimension.
struct LaunchShape {
  int64_t blocks = 1;
  int32_t threads = 32;  // of a block
  int32_t wave = 32;     // that the kernel was written for; a multiple of it are the threads
  int64_t shared_bytes = 0;
};

// A kernel of a loaded module. A kernel takes one struct by value, at most 4 KiB of it.
class GpuKernel {
 public:
  GpuKernel() = default;
  explicit GpuKernel(void* function) : function_(function) {}
  void* function() const { return function_; }  // the driver's handle

 private:
  void* function_ = nullptr;
};

class GpuModule {
 public:
  virtual ~GpuModule() = default;
  // Fails if the module has no kernel of this name, or the device cannot give a block that much
  // shared memory.
  virtual Result<GpuKernel> Find(const std::string& name, int64_t shared_bytes) = 0;
};

class GpuStream : public Stream {
 public:
  // `args` is read before this returns. Errors stay in the stream.
  virtual void Launch(const GpuKernel& kernel, const LaunchShape& shape, const void* args,
                      size_t bytes) = 0;
  template <class Args>
  void Launch(const GpuKernel& kernel, const LaunchShape& shape, const Args& args) {
    Launch(kernel, shape, &args, sizeof(Args));
  }
  using Stream::Launch;
  bool asynchronous() const override { return true; }
};

class GpuDevice : public Device {
 public:
  // The image for this device's architecture, loaded. Fails if `images` has none, and says which
  // there are. The module lives as long as the device allows, which outlives it.
  virtual Result<std::unique_ptr<GpuModule>> Load(std::span<const KernelImage> images) = 0;
  // The matrix instructions to compile for: "mma", "mfma" (gfx9), "wmma" (gfx12), "wmma11" (gfx11);
  // of "simt-emulated" one of them.
  virtual const std::string& matrix_policy() const = 0;
};

// Whether a device of architecture `device` runs code for `image`: "sm_90" runs "sm_90a" and
// "sm_90", and code for earlier ones of its generation ("sm_86" runs "sm_80"); of AMD's it must be
// the same.
bool RunsCode(const std::string& device, const std::string& image);

// Whether `device` is a GpuDevice, an emulated one included.
bool IsGpu(const Device& device);

}  // namespace tessera
