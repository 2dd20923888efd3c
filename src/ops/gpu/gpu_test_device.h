// GPUs with operations, for tests: the lock-step emulator with each family of matrix instructions,
// the machine code for gfx942 if the build has it, and GPUs of this machine if there are any.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "device/gpu/rocm_emulated_device.h"
#include "device/gpu/simt_device.h"
#include "ops/gpu/gpu_ops.h"
#include "tessera/device.h"

namespace tessera {

// "mma", "mfma", "wmma", "wmma11" and those of these that are here: "gfx942"; "cuda", "hip" with
// the vendor's matrix library, "cuda_own", "hip_own" without.
inline std::vector<std::string> GpuTestDevices() {
  std::vector<std::string> names = {"mma", "mfma", "wmma", "wmma11"};
  if (OpenRocmEmulatedDevice().ok()) names.push_back("gfx942");
  for (const std::string real : {"cuda", "hip"}) {
    if (!OpenDevice(real).ok()) continue;
    names.push_back(real);
    names.push_back(real + "_own");
  }
  return names;
}

class GpuTestDevice {
 public:
  explicit GpuTestDevice(const std::string& name, bool batch_invariant = false)
      : real_(name.starts_with("cuda") || name.starts_with("hip")) {
    device_ = Open(name);
    stream_ = Take(device_->NewStream());
    ops_ = Take(
        CreateGpuOps(static_cast<GpuDevice*>(device_.get()), static_cast<GpuStream*>(stream_.get()),
                     {.use_library = !name.ends_with("_own"), .batch_invariant = batch_invariant}));
  }

  // Not emulated: quick enough for large cases.
  bool real() const { return real_; }
  GpuOps& ops() { return *ops_; }
  Stream& stream() { return *stream_; }

  Buffer Upload(const void* data, int64_t bytes) {
    auto buffer = device_->Allocate(bytes + 16, MemoryKind::kDevice);
    TESSERA_CHECK(buffer.ok(), "no memory");
    stream_->Copy(buffer->data(), data, bytes);
    return std::move(*buffer);
  }
  template <typename T>
  Buffer Upload(const std::vector<T>& values) {
    return Upload(values.data(), static_cast<int64_t>(values.size() * sizeof(T)));
  }
  template <typename T>
  std::vector<T> Download(const Buffer& buffer, int64_t count) {
    std::vector<T> values(static_cast<size_t>(count));
    stream_->Copy(values.data(), buffer.data(), count * static_cast<int64_t>(sizeof(T)));
    const Status status = stream_->Synchronize();
    TESSERA_CHECK(status.ok(), status.ok() ? "" : status.error().message);
    return values;
  }

 private:
  template <typename T>
  static T Take(Result<T> result) {
    TESSERA_CHECK(result.ok(), result.ok() ? "" : result.error().message);
    return std::move(result).value();
  }
  std::unique_ptr<Device> Open(const std::string& name) const {
    if (real_) return Take(OpenDevice(name.substr(0, name.find('_'))));
    if (name == "gfx942") return Take(OpenRocmEmulatedDevice());
    return Take(OpenSimtDevice({.matrix_policy = name, .seed = 3}));
  }

  const bool real_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<GpuOps> ops_;
};

}  // namespace tessera
