// A CPU whose device memory is PROT_NONE but while a HostAccess lives: code of the host that
// follows an address of the device, as it would on a GPU, ends with SIGSEGV on the day it is
// written.
#include <utility>

#include "base/memory.h"
#include "device/cpu/cpu_device.h"
#include "device/cpu/fence.h"

namespace tessera {
namespace {

class FencedStream final : public CpuStream {
 public:
  explicit FencedStream(std::shared_ptr<Fence> fence) : fence_(std::move(fence)) {}

 private:
  void OpenToHost() override { fence_->Open(); }
  void CloseToHost() override { fence_->Close(); }

  const std::shared_ptr<Fence> fence_;
};

class FencedDevice final : public Device {
 public:
  explicit FencedDevice(DeviceInfo info) : info_(std::move(info)), fence_(Fence::Create()) {}

  const DeviceInfo& info() const override { return info_; }
  Result<Buffer> Allocate(int64_t bytes, MemoryKind kind) override {
    if (kind == MemoryKind::kPinnedHost) return AllocateHostBuffer(bytes);
    return fence_->AllocateBuffer(bytes);
  }
  Result<std::unique_ptr<Stream>> NewStream() override {
    return std::unique_ptr<Stream>(std::make_unique<FencedStream>(fence_));
  }
  int64_t free_bytes() const override { return AvailableMemoryBytes(); }

 private:
  const DeviceInfo info_;
  const std::shared_ptr<Fence> fence_;
};

}  // namespace

std::unique_ptr<Device> CreateFencedDevice(DeviceInfo info) {
  return std::make_unique<FencedDevice>(std::move(info));
}

}  // namespace tessera
