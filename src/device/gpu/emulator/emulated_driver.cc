#include "device/gpu/emulator/emulated_driver.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace tessera {

namespace {

constexpr int64_t kFilledBytes = int64_t{64} << 20;

}  // namespace

EmulatedDriver::EmulatedDriver() : fence_(Fence::Create()) {}
EmulatedDriver::~EmulatedDriver() = default;

std::string EmulatedDriver::ErrorText(Code code) {
  const std::lock_guard lock(mutex_);
  const auto index = static_cast<size_t>(code - 1);
  return index < failures_.size() ? failures_[index] : "no error";
}

GpuDriverTable::Code EmulatedDriver::Failure(const std::string& text) {
  const std::lock_guard lock(mutex_);
  failures_.push_back(text);
  return static_cast<Code>(failures_.size());
}

GpuDriverTable::Code EmulatedDriver::Version(DriverVersion* version) {
  *version = {1, 0};
  return 0;
}

GpuDriverTable::Code EmulatedDriver::Count(int* count) {
  *count = 1;
  return 0;
}

GpuDriverTable::Code EmulatedDriver::OpenContext(int /*index*/, Handle* context) {
  *context = this;
  return 0;
}

GpuDriverTable::Code EmulatedDriver::Allocate(int64_t bytes, void** data) {
  const std::lock_guard lock(mutex_);
  auto memory = fence_->Allocate(bytes);
  if (!memory.ok()) return Failure(memory.error().message);
  // A GPU's memory begins with what was there before: here with NaN. Large buffers do not, so that
  // they take memory only as they are written.
  if (bytes <= kFilledBytes) {
    fence_->Open();
    std::memset(*memory, 0xff, static_cast<size_t>(bytes));
    fence_->Close();
  }
  device_memory_[*memory] = bytes;
  *data = *memory;
  return 0;
}

GpuDriverTable::Code EmulatedDriver::Free(void* data) {
  const std::lock_guard lock(mutex_);
  FinishAll();
  const auto found = device_memory_.find(data);
  if (found == device_memory_.end()) return Failure("memory that was not allocated is freed");
  fence_->Free(data, found->second);
  device_memory_.erase(found);
  return 0;
}

GpuDriverTable::Code EmulatedDriver::AllocatePinned(int64_t bytes, void** data) {
  const std::lock_guard lock(mutex_);
  auto memory = AlignedBuffer::Allocate(bytes);
  if (!memory.ok()) return Failure(memory.error().message);
  *data = memory->data();
  pinned_memory_.emplace(*data, std::move(memory).value());
  return 0;
}

GpuDriverTable::Code EmulatedDriver::FreePinned(void* data) {
  const std::lock_guard lock(mutex_);
  FinishAll();
  return pinned_memory_.erase(data) == 1 ? 0 : Failure("memory that was not allocated is freed");
}

GpuDriverTable::Code EmulatedDriver::FreeBytes(int64_t* bytes) {
  *bytes = AvailableMemoryBytes();
  return 0;
}

std::shared_ptr<EmulatedDriver::Queue>& EmulatedDriver::QueueOf(Handle stream) {
  return *static_cast<std::shared_ptr<Queue>*>(stream);
}

void EmulatedDriver::Give(Queue& queue, Work work) {
  if (queue.capturing) {
    queue.captured.push_back(std::move(work));
    return;
  }
  queue.waiting.push_back(std::move(work));
  ++queue.given;
}

void EmulatedDriver::Advance(Queue& queue, int64_t position) {
  if (queue.done >= position) return;
  fence_->Open();
  while (queue.done < position) {
    const Work work = std::move(queue.waiting.front());
    queue.waiting.pop_front();
    ++queue.done;
    if (queue.error == 0) queue.error = work();
  }
  fence_->Close();
}

void EmulatedDriver::FinishAll() {
  for (const auto& queue : queues_) Advance(**queue, (*queue)->given);
}

GpuDriverTable::Code EmulatedDriver::NewStream(Handle* stream) {
  const std::lock_guard lock(mutex_);
  queues_.push_back(std::make_unique<std::shared_ptr<Queue>>(std::make_shared<Queue>()));
  *stream = queues_.back().get();
  return 0;
}

GpuDriverTable::Code EmulatedDriver::EndStream(Handle stream) {
  const std::lock_guard lock(mutex_);
  Advance(*QueueOf(stream), QueueOf(stream)->given);
  std::erase_if(queues_, [&](const auto& queue) { return queue.get() == stream; });
  return 0;
}

GpuDriverTable::Code EmulatedDriver::Synchronize(Handle stream) {
  const std::lock_guard lock(mutex_);
  Queue& queue = *QueueOf(stream);
  if (queue.capturing) return Failure("a stream is waited for while it records");
  Advance(queue, queue.given);
  return queue.error;
}

GpuDriverTable::Code EmulatedDriver::NewEvent(Handle* event) {
  *event = new Event;
  return 0;
}

GpuDriverTable::Code EmulatedDriver::EndEvent(Handle event) {
  delete static_cast<Event*>(event);
  return 0;
}

GpuDriverTable::Code EmulatedDriver::Record(Handle event, Handle stream) {
  const std::lock_guard lock(mutex_);
  const std::shared_ptr<Queue>& queue = QueueOf(stream);
  if (queue->capturing) return Failure("an event is recorded in a graph");
  *static_cast<Event*>(event) = {queue, queue->given};
  return 0;
}

GpuDriverTable::Code EmulatedDriver::Wait(Handle stream, Handle event) {
  const std::lock_guard lock(mutex_);
  Queue& queue = *QueueOf(stream);
  if (queue.capturing) return Failure("an event is waited for in a graph");
  Give(queue, [this, awaited = *static_cast<Event*>(event)] {
    if (awaited.queue == nullptr) return Code{0};
    Advance(*awaited.queue, awaited.position);
    return awaited.queue->error;
  });
  return 0;
}

GpuDriverTable::Code EmulatedDriver::WaitOnHost(Handle event) {
  const std::lock_guard lock(mutex_);
  const Event& awaited = *static_cast<Event*>(event);
  if (awaited.queue == nullptr) return 0;
  Advance(*awaited.queue, awaited.position);
  return awaited.queue->error;
}

GpuDriverTable::Code EmulatedDriver::Copy(void* to, const void* from, int64_t bytes,
                                          Handle stream) {
  const std::lock_guard lock(mutex_);
  Give(*QueueOf(stream), [=] {
    std::memmove(to, from, static_cast<size_t>(bytes));
    return Code{0};
  });
  return 0;
}

GpuDriverTable::Code EmulatedDriver::Fill(void* to, uint8_t byte, int64_t bytes, Handle stream) {
  const std::lock_guard lock(mutex_);
  Give(*QueueOf(stream), [=] {
    std::memset(to, byte, static_cast<size_t>(bytes));
    return Code{0};
  });
  return 0;
}

GpuDriverTable::Code EmulatedDriver::Launch(Handle function, const LaunchShape& shape,
                                            const void* args, size_t bytes, Handle stream) {
  const std::lock_guard lock(mutex_);
  // Aligned as any struct of arguments is.
  std::vector<std::max_align_t> copy((bytes + sizeof(std::max_align_t) - 1) /
                                     sizeof(std::max_align_t));
  if (bytes > 0) std::memcpy(copy.data(), args, bytes);
  Give(*QueueOf(stream), [this, function, shape, bytes, arguments = std::move(copy)] {
    const Status status = RunKernel(function, shape, arguments.data(), bytes);
    return status.ok() ? Code{0} : Failure(status.error().message);
  });
  return 0;
}

GpuDriverTable::Code EmulatedDriver::BeginCapture(Handle stream) {
  const std::lock_guard lock(mutex_);
  Queue& queue = *QueueOf(stream);
  if (queue.capturing) return Failure("a stream that records already begins to record");
  queue.capturing = true;
  return 0;
}

GpuDriverTable::Code EmulatedDriver::EndCapture(Handle stream, Handle* graph) {
  const std::lock_guard lock(mutex_);
  Queue& queue = *QueueOf(stream);
  if (!queue.capturing) return Failure("a stream ends a recording that it had not begun");
  queue.capturing = false;
  *graph = new std::shared_ptr<std::vector<Work>>(
      std::make_shared<std::vector<Work>>(std::exchange(queue.captured, {})));
  return 0;
}

GpuDriverTable::Code EmulatedDriver::LaunchGraph(Handle graph, Handle stream) {
  const std::lock_guard lock(mutex_);
  Give(*QueueOf(stream), [works = *static_cast<std::shared_ptr<std::vector<Work>>*>(graph)] {
    for (const Work& work : *works) {
      if (const Code code = work(); code != 0) return code;
    }
    return Code{0};
  });
  return 0;
}

GpuDriverTable::Code EmulatedDriver::EndGraph(Handle graph) {
  delete static_cast<std::shared_ptr<std::vector<Work>>*>(graph);
  return 0;
}

}  // namespace tessera
