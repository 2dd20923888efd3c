// Devices: where a model's memory lies and its work runs. Device allocates and makes streams,
// Stream is an ordered queue, Buffer owns memory, Graph is a recorded sequence of launches.
//
//   TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<Device> device, OpenDevice("cuda:0"));
//   TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<Stream> stream, device->NewStream());
//   TESSERA_ASSIGN_OR_RETURN(Buffer buffer, device->Allocate(bytes, MemoryKind::kDevice));
//   stream->Copy(buffer.data(), values.data(), bytes);
//   TESSERA_RETURN_IF_ERROR(stream->Synchronize());
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tessera/result.h"

namespace tessera {

enum class DeviceKind : uint8_t {
  kCpu,
  kCuda,
  kHip,
  kXpu,
  kSimt,  // the lock-step emulator of GPU thread blocks
};

// "cpu", "cuda", "hip", "xpu", "simt".
const char* ToString(DeviceKind kind);

// Plain facts; tests make up devices that nobody has at hand.
struct DeviceInfo {
  DeviceKind kind = DeviceKind::kCpu;
  std::string name;                   // "AMD EPYC 9575F", "NVIDIA H200", "AMD Instinct MI300X"
  std::string arch;                   // "x86_64", "aarch64"; "sm_90"; "gfx942"
  std::vector<std::string> features;  // CPU: "avx2", "avx512f", "avx512_bf16", "amx_bf16", ...
  int num_units = 0;                  // cores, or multiprocessors / compute units
  int64_t memory_bytes = 0;           // total
  int64_t l2_bytes = 0;               // per core on a CPU, whole on a GPU

  bool Has(const std::string& feature) const {
    for (const std::string& f : features) {
      if (f == feature) return true;
    }
    return false;
  }
};

// This machine's CPU.
DeviceInfo DetectCpu();

enum class MemoryKind : uint8_t {
  kDevice,      // zeroed if the device is a CPU; undefined elsewhere
  kPinnedHost,  // memory of the host that a device copies from and to in the background
};

// Owns memory of one device, which outlives it. Movable. data() is an address of that device: only
// the device's own kernels and Stream::Copy may follow it; kPinnedHost is the host's as well.
class Buffer {
 public:
  // What gives the memory back as it ends.
  class Owner {
   public:
    virtual ~Owner() = default;
  };

  Buffer() = default;  // empty: null, 0 bytes
  Buffer(void* data, int64_t bytes, std::unique_ptr<Owner> owner)
      : data_(data), bytes_(bytes), owner_(std::move(owner)) {}
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)),
        owner_(std::move(other.owner_)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
    owner_ = std::move(other.owner_);
    return *this;
  }

  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  template <typename T>
  T* As() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  int64_t bytes_ = 0;
  std::unique_ptr<Owner> owner_;
};

// A recorded sequence of launches. Replayed with the same addresses and other contents.
class Graph {
 public:
  virtual ~Graph() = default;
};

// An ordered queue. Launches do not fail one by one: the first error stays, and Synchronize()
// returns it as a sentence, then and ever after. Used by one thread at a time.
class Stream {
 public:
  virtual ~Stream() = default;

  // Copies in any direction. Memory of the host that is not pinned may be reused when this returns
  // if it is the source, and after Synchronize() if it is the destination.
  virtual void Copy(void* to, const void* from, int64_t bytes) = 0;
  virtual void Fill(void* to, uint8_t byte, int64_t bytes) = 0;
  // What follows in this stream begins after all that `other` has been given so far.
  virtual void Wait(const Stream& other) = 0;
  // Returns when everything has been done, with the first error there was.
  virtual Status Synchronize() = 0;

  // Records launches and copies between buffers, without doing them, until EndCapture(). Fails if
  // the device cannot record (a CPU): the caller then launches them again in every step.
  virtual Status BeginCapture() = 0;
  virtual Result<std::unique_ptr<Graph>> EndCapture() = 0;
  virtual void Launch(const Graph& graph) = 0;  // a graph that this stream recorded

  // Whether calls return before their work is done.
  virtual bool asynchronous() const { return false; }
  // cudaStream_t, hipStream_t; null on a CPU.
  virtual void* native() const { return nullptr; }

 private:
  friend class HostAccess;
  virtual void OpenToHost() {}
  virtual void CloseToHost() {}
};

// Lets code of the host follow addresses of a CPU device for as long as it lives: operations and
// backends that compute on the CPU hold one while they work. Nests. Costs nothing on `cpu`; the
// memory of `fenced` is inaccessible without. On a GPU it changes nothing: its memory stays out of
// reach.
class HostAccess {
 public:
  explicit HostAccess(Stream& stream) : stream_(stream) { stream_.OpenToHost(); }
  ~HostAccess() { stream_.CloseToHost(); }
  HostAccess(const HostAccess&) = delete;
  HostAccess& operator=(const HostAccess&) = delete;

 private:
  Stream& stream_;
};

// Thread-safe. Outlives its streams, buffers and graphs.
class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;
  // Aligned for every kernel (64 bytes on a CPU, else 256). kOutOfMemory says how much was free.
  virtual Result<Buffer> Allocate(int64_t bytes, MemoryKind kind) = 0;
  virtual Result<std::unique_ptr<Stream>> NewStream() = 0;
  // What can still be allocated; 0: unknown.
  virtual int64_t free_bytes() const = 0;
};

// The host's memory; launches run in the call. Large buffers ask for huge pages, which come into
// being on the NUMA node of the thread that touches them first. `info`: tests make up other CPUs.
std::unique_ptr<Device> CreateCpuDevice(DeviceInfo info = DetectCpu());

// The same, but kDevice memory can be followed only under a HostAccess: any other access ends the
// program with SIGSEGV. For tests.
std::unique_ptr<Device> CreateFencedDevice(DeviceInfo info = DetectCpu());

// "auto", "cpu", "fenced", "cuda", "cuda:1", "hip", "hip:1", "simt-emulated", "rocm-emulated".
// Fails if there is no such device here, or none that can be used, and says why. "auto" takes the
// first usable GPU, or else the CPU; `*why` (may be null) then says what was chosen and why no
// other device was.
Result<std::unique_ptr<Device>> OpenDevice(const std::string& name, std::string* why = nullptr);

}  // namespace tessera
