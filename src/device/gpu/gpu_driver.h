// The table of what a GPU's driver does, alike in CUDA, HIP and the emulators. GpuDevice is written
// over it; a test's double of it makes up bad machines.
//
// Functions return the driver's own error code, 0 for success; ErrorText() puts it in words.
// Handles are the driver's. Enter() makes a context the calling thread's: everything below needs
// it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "device/gpu/gpu_device.h"
#include "tessera/device.h"
#include "tessera/result.h"

namespace tessera {

struct DriverVersion {
  int major = 0;
  int minor = 0;
  auto operator<=>(const DriverVersion&) const = default;
};

// One device, as its driver describes it.
struct GpuFacts {
  DeviceInfo info;
  int64_t max_shared_bytes = 0;  // of a block
  std::string matrix_policy;     // see GpuDevice
};

class GpuDriverTable {
 public:
  using Code = int;
  using Handle = void*;

  virtual ~GpuDriverTable() = default;

  // The device's name without its number, as OpenDevice() takes it: "cuda".
  virtual std::string DeviceName() const = 0;
  virtual std::string ErrorText(Code code) = 0;
  // Whether the build has machine code to choose from; if not ("simt"), every device is usable.
  virtual bool NeedsMachineCode() const { return true; }

  // Starts the driver; the first function that is called.
  virtual Code Start() = 0;
  virtual Code Version(DriverVersion* version) = 0;
  virtual DriverVersion NeededVersion() const = 0;
  virtual Code Count(int* count) = 0;
  virtual Code Describe(int index, GpuFacts* facts) = 0;

  virtual Code OpenContext(int index, Handle* context) = 0;
  virtual void CloseContext(int index, Handle context) = 0;
  virtual Code Enter(Handle context) = 0;

  virtual Code Allocate(int64_t bytes, void** data) = 0;
  virtual Code AllocatePinned(int64_t bytes, void** data) = 0;
  // Wait for all work of the device first: what is under way may still use the memory.
  virtual Code Free(void* data) = 0;
  virtual Code FreePinned(void* data) = 0;
  virtual Code FreeBytes(int64_t* bytes) = 0;

  // Streams that do not wait for a default stream, events without times.
  virtual Code NewStream(Handle* stream) = 0;
  virtual Code EndStream(Handle stream) = 0;
  virtual Code Synchronize(Handle stream) = 0;
  virtual Code NewEvent(Handle* event) = 0;
  virtual Code EndEvent(Handle event) = 0;
  virtual Code Record(Handle event, Handle stream) = 0;
  virtual Code Wait(Handle stream, Handle event) = 0;
  virtual Code WaitOnHost(Handle event) = 0;

  // Memory of the host is pinned, or is read after this returns.
  virtual Code Copy(void* to, const void* from, int64_t bytes, Handle stream) = 0;
  virtual Code Fill(void* to, uint8_t byte, int64_t bytes, Handle stream) = 0;

  virtual Code LoadModule(const KernelImage& image, Handle* module) = 0;
  virtual Code UnloadModule(Handle module) = 0;
  // Lets the function's blocks have so much shared memory that is given at the launch.
  virtual Code Find(Handle module, const std::string& name, int64_t shared_bytes,
                    Handle* function) = 0;
  virtual Code Launch(Handle function, const LaunchShape& shape, const void* args, size_t bytes,
                      Handle stream) = 0;

  // What EndCapture() gives can be launched.
  virtual Code BeginCapture(Handle stream) = 0;
  virtual Code EndCapture(Handle stream, Handle* graph) = 0;
  virtual Code LaunchGraph(Handle graph, Handle stream) = 0;
  virtual Code EndGraph(Handle graph) = 0;
};

// Fail if there is no library of the driver, or one that lacks a function.
Result<std::unique_ptr<GpuDriverTable>> LoadCudaDriver();
Result<std::unique_ptr<GpuDriverTable>> LoadHipDriver();

// How many devices the driver has; 0 if it does not start.
int CountGpus(GpuDriverTable* driver);

// Opens device `index`. `architectures`: those that this build has code for. Fails, with a
// sentence, if the driver does not start or is too old, if there is no such device, or no code for
// it.
Result<std::unique_ptr<GpuDevice>> OpenGpu(std::unique_ptr<GpuDriverTable> driver, int index,
                                           std::span<const std::string> architectures);

}  // namespace tessera
