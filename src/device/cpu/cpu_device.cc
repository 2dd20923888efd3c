#include "device/cpu/cpu_device.h"

#include <cstring>
#include <memory>
#include <utility>

#include "base/memory.h"

namespace tessera {
namespace {

struct HostMemory final : Buffer::Owner {
  explicit HostMemory(AlignedBuffer memory) : buffer(std::move(memory)) {}
  AlignedBuffer buffer;
};

class CpuDevice final : public Device {
 public:
  explicit CpuDevice(DeviceInfo info) : info_(std::move(info)) {}

  const DeviceInfo& info() const override { return info_; }
  Result<Buffer> Allocate(int64_t bytes, MemoryKind /*kind*/) override {
    return AllocateHostBuffer(bytes);
  }
  Result<std::unique_ptr<Stream>> NewStream() override {
    return std::unique_ptr<Stream>(std::make_unique<CpuStream>());
  }
  int64_t free_bytes() const override { return AvailableMemoryBytes(); }

 private:
  const DeviceInfo info_;
};

}  // namespace

void CpuStream::Copy(void* to, const void* from, int64_t bytes) {
  if (bytes == 0) return;
  const HostAccess access(*this);
  std::memcpy(to, from, static_cast<size_t>(bytes));
}

void CpuStream::Fill(void* to, uint8_t byte, int64_t bytes) {
  if (bytes == 0) return;
  const HostAccess access(*this);
  std::memset(to, byte, static_cast<size_t>(bytes));
}

Status CpuStream::BeginCapture() {
  return Unsupported("a CPU runs its work in the call and records no graphs");
}

Result<std::unique_ptr<Graph>> CpuStream::EndCapture() { return BeginCapture().error(); }

void CpuStream::Launch(const Graph& /*graph*/) {
  TESSERA_CHECK(false, "a CPU's stream has recorded no graph");
}

Result<Buffer> AllocateHostBuffer(int64_t bytes) {
  TESSERA_ASSIGN_OR_RETURN(AlignedBuffer memory, AlignedBuffer::Allocate(bytes));
  void* const data = memory.data();
  return Buffer(data, bytes, std::make_unique<HostMemory>(std::move(memory)));
}

std::unique_ptr<Device> CreateCpuDevice(DeviceInfo info) {
  return std::make_unique<CpuDevice>(std::move(info));
}

}  // namespace tessera
