// The table of driver functions over memory of the host, for the emulators: everything but how a
// kernel is found and run. Device memory is fenced, and open only while the device works.
//
// Streams are as lazy as a GPU may be at worst: what they are given is done when a caller waits for
// it. So the program notices here what it got wrong about time: pinned memory that it writes too
// early, results that it reads without waiting.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/memory.h"
#include "device/cpu/fence.h"
#include "device/gpu/gpu_driver.h"

namespace tessera {

class EmulatedDriver : public GpuDriverTable {
 public:
  EmulatedDriver();
  ~EmulatedDriver() override;

  std::string ErrorText(Code code) override;
  Code Start() override { return 0; }
  Code Version(DriverVersion* version) override;
  DriverVersion NeededVersion() const override { return {1, 0}; }
  Code Count(int* count) override;

  Code OpenContext(int index, Handle* context) override;
  void CloseContext(int /*index*/, Handle /*context*/) override {}
  Code Enter(Handle /*context*/) override { return 0; }

  Code Allocate(int64_t bytes, void** data) override;
  Code Free(void* data) override;
  Code AllocatePinned(int64_t bytes, void** data) override;
  Code FreePinned(void* data) override;
  Code FreeBytes(int64_t* bytes) override;

  Code NewStream(Handle* stream) override;
  Code EndStream(Handle stream) override;
  Code Synchronize(Handle stream) override;
  Code NewEvent(Handle* event) override;
  Code EndEvent(Handle event) override;
  Code Record(Handle event, Handle stream) override;
  Code Wait(Handle stream, Handle event) override;
  Code WaitOnHost(Handle event) override;

  Code Copy(void* to, const void* from, int64_t bytes, Handle stream) override;
  Code Fill(void* to, uint8_t byte, int64_t bytes, Handle stream) override;
  Code Launch(Handle function, const LaunchShape& shape, const void* args, size_t bytes,
              Handle stream) override;

  Code BeginCapture(Handle stream) override;
  Code EndCapture(Handle stream, Handle* graph) override;
  Code LaunchGraph(Handle graph, Handle stream) override;
  Code EndGraph(Handle graph) override;

 protected:
  // Runs all blocks of a kernel; device memory is open. Called by one thread at a time. Fails if
  // the kernel breaks a rule of its machine.
  virtual Status RunKernel(Handle function, const LaunchShape& shape, const void* args,
                           size_t bytes) = 0;
  // A code for an error of this text.
  Code Failure(const std::string& text);
  // Calls f(address, bytes) for all memory that kernels may use.
  template <class F>
  void ForEachAllocation(const F& f) {
    const std::lock_guard lock(mutex_);
    for (const auto& [data, bytes] : device_memory_) f(data, bytes);
    for (const auto& [data, buffer] : pinned_memory_) f(data, buffer.size());
  }

 private:
  using Work = std::function<Code()>;
  struct Queue {
    std::deque<Work> waiting;
    int64_t given = 0;
    int64_t done = 0;
    Code error = 0;  // the first one; what follows is not done
    bool capturing = false;
    std::vector<Work> captured;
  };
  struct Event {
    std::shared_ptr<Queue> queue;
    int64_t position = 0;
  };

  std::shared_ptr<Queue>& QueueOf(Handle stream);
  void Give(Queue& queue, Work work);
  // Does what the queue was given up to a position.
  void Advance(Queue& queue, int64_t position);
  void FinishAll();

  std::recursive_mutex mutex_;
  const std::shared_ptr<Fence> fence_;
  std::map<void*, int64_t> device_memory_;
  std::map<void*, AlignedBuffer> pinned_memory_;
  std::vector<std::unique_ptr<std::shared_ptr<Queue>>> queues_;
  std::vector<std::string> failures_;
};

}  // namespace tessera
