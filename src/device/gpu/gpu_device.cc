#include <cstring>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "device/gpu/gpu_driver.h"

namespace tessera {
namespace {

using Handle = GpuDriverTable::Handle;
using Code = GpuDriverTable::Code;

std::string Mebibytes(int64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

std::string Text(const DriverVersion& version) {
  return std::to_string(version.major) + "." + std::to_string(version.minor);
}

// What streams, buffers and modules of one device share.
class Context {
 public:
  Context(std::unique_ptr<GpuDriverTable> table, int device_index, GpuFacts device_facts,
          Handle driver_context)
      : driver(std::move(table)),
        facts(std::move(device_facts)),
        name(driver->DeviceName() + ":" + std::to_string(device_index) + " (" + facts.info.name +
             ")"),
        index_(device_index),
        context_(driver_context) {}
  ~Context() { driver->CloseContext(index_, context_); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Code Enter() const { return driver->Enter(context_); }

  void Remember(const void* data, int64_t bytes) {
    const std::lock_guard lock(mutex_);
    allocations_[static_cast<const char*>(data)] = bytes;
  }
  void Forget(const void* data) {
    const std::lock_guard lock(mutex_);
    allocations_.erase(static_cast<const char*>(data));
  }
  // Whether this device allocated the memory, pinned memory of the host included.
  bool Owns(const void* data) const {
    const std::lock_guard lock(mutex_);
    const auto* const address = static_cast<const char*>(data);
    auto after = allocations_.upper_bound(address);
    if (after == allocations_.begin()) return false;
    const auto& [start, bytes] = *--after;
    return address < start + bytes;
  }

  const std::unique_ptr<GpuDriverTable> driver;
  const GpuFacts facts;
  const std::string name;  // "cuda:0 (NVIDIA H200)"

 private:
  const int index_;
  const Handle context_;
  mutable std::mutex mutex_;
  std::map<const char*, int64_t> allocations_;
};

struct DriverMemory final : Buffer::Owner {
  DriverMemory(Context& owner, void* memory, MemoryKind memory_kind)
      : context(owner), data(memory), kind(memory_kind) {}
  ~DriverMemory() override {
    context.Forget(data);
    if (context.Enter() != 0) return;
    kind == MemoryKind::kPinnedHost ? context.driver->FreePinned(data) : context.driver->Free(data);
  }
  Context& context;
  void* const data;
  const MemoryKind kind;
};

struct DriverGraph final : Graph {
  DriverGraph(Context& owner, Handle graph) : context(owner), handle(graph) {}
  ~DriverGraph() override {
    if (context.Enter() == 0) context.driver->EndGraph(handle);
  }
  Context& context;
  const Handle handle;
};

struct DriverModule final : GpuModule {
  DriverModule(Context& owner, Handle module) : context(owner), handle(module) {}
  ~DriverModule() override {
    if (context.Enter() == 0) context.driver->UnloadModule(handle);
  }

  Result<GpuKernel> Find(const std::string& name, int64_t shared_bytes) override {
    if (shared_bytes > context.facts.max_shared_bytes) {
      return Unsupported(context.name + " gives a block " +
                         std::to_string(context.facts.max_shared_bytes) +
                         " bytes of shared memory, and the kernel " + name + " needs " +
                         std::to_string(shared_bytes));
    }
    Handle function = nullptr;
    Code code = context.Enter();
    if (code == 0) code = context.driver->Find(handle, name, shared_bytes, &function);
    if (code != 0) {
      return NotFound("the kernel " + name + " cannot be used on " + context.name + ": " +
                      context.driver->ErrorText(code));
    }
    return GpuKernel(function);
  }

  Context& context;
  const Handle handle;
};

// Pinned memory by way of which a stream copies from memory of the host that is not pinned: a
// driver may read that after its call has returned, which Stream::Copy must not.
class StagingPieces {
 public:
  explicit StagingPieces(Context& context) : context_(context) {}
  ~StagingPieces() {
    if (context_.Enter() != 0) return;
    for (const Piece& piece : pieces_) {
      if (piece.event != nullptr) context_.driver->EndEvent(piece.event);
      if (piece.data != nullptr) context_.driver->FreePinned(piece.data);
    }
  }
  StagingPieces(const StagingPieces&) = delete;
  StagingPieces& operator=(const StagingPieces&) = delete;

  Code Copy(char* to, const char* from, int64_t bytes, Handle stream) {
    GpuDriverTable& driver = *context_.driver;
    for (int64_t done = 0; done < bytes; done += kBytes) {
      Piece& piece = pieces_[next_++ % kCount];
      if (piece.data == nullptr) {
        if (const Code code = driver.AllocatePinned(kBytes, &piece.data); code != 0) return code;
        if (const Code code = driver.NewEvent(&piece.event); code != 0) return code;
      } else if (const Code code = driver.WaitOnHost(piece.event); code != 0) {
        return code;
      }
      const int64_t part = bytes - done < kBytes ? bytes - done : kBytes;
      std::memcpy(piece.data, from + done, static_cast<size_t>(part));
      if (const Code code = driver.Copy(to + done, piece.data, part, stream); code != 0) {
        return code;
      }
      if (const Code code = driver.Record(piece.event, stream); code != 0) return code;
    }
    return 0;
  }

 private:
  static constexpr int64_t kBytes = int64_t{1} << 20;
  static constexpr size_t kCount = 4;
  struct Piece {
    void* data = nullptr;
    Handle event = nullptr;  // after the last copy from it
  };

  Context& context_;
  Piece pieces_[kCount];
  size_t next_ = 0;
};

class DriverStream final : public GpuStream {
 public:
  DriverStream(Context& context, Handle stream)
      : context_(context), stream_(stream), staging_(context) {}
  ~DriverStream() override {
    if (context_.Enter() != 0) return;
    context_.driver->Synchronize(stream_);
    context_.driver->EndStream(stream_);
  }

  void Copy(void* to, const void* from, int64_t bytes) override {
    if (bytes == 0 || !Begin("copying")) return;
    const bool from_own = context_.Owns(from);
    if (capturing_ && !(from_own && context_.Owns(to))) {
      Fail("recording a copy: a graph copies between buffers of its device only");
      return;
    }
    Check(from_own ? context_.driver->Copy(to, from, bytes, stream_)
                   : staging_.Copy(static_cast<char*>(to), static_cast<const char*>(from), bytes,
                                   stream_),
          "copying");
  }
  void Fill(void* to, uint8_t byte, int64_t bytes) override {
    if (bytes == 0 || !Begin("filling memory")) return;
    Check(context_.driver->Fill(to, byte, bytes, stream_), "filling memory");
  }
  void Wait(const Stream& other) override {
    const auto* const source = dynamic_cast<const DriverStream*>(&other);
    if (source == nullptr || source == this || !status_.ok()) return;  // a CPU's is never behind
    if (!source->status_.ok()) {
      status_ = source->status_;  // what it waits for has not been done
      return;
    }
    Handle event = nullptr;
    Code code = source->context_.Enter();
    if (code == 0) code = source->context_.driver->NewEvent(&event);
    if (code == 0) code = source->context_.driver->Record(event, source->stream_);
    if (code == 0) code = context_.Enter();
    if (code == 0) code = context_.driver->Wait(stream_, event);
    if (event != nullptr) source->context_.driver->EndEvent(event);  // as soon as it has happened
    Check(code, "waiting for another stream");
  }
  Status Synchronize() override {
    if (Begin("finishing the work")) {
      Check(context_.driver->Synchronize(stream_), "finishing the work");
    }
    return status_;
  }

  Status BeginCapture() override {
    if (!Begin("recording a graph")) return status_;
    // A refusal leaves the stream as it was.
    if (const Code code = context_.driver->BeginCapture(stream_); code != 0) return Refusal(code);
    capturing_ = true;
    return {};
  }
  Result<std::unique_ptr<Graph>> EndCapture() override {
    const bool begun = std::exchange(capturing_, false);
    // A stream that failed in between is taken out of its recording all the same.
    if (status_.ok() && !begun) Fail("recording a graph: no recording had begun");
    Handle graph = nullptr;
    if (begun && context_.Enter() == 0) {
      const Code code = context_.driver->EndCapture(stream_, &graph);
      if (code != 0 && status_.ok()) return Refusal(code);
    }
    std::unique_ptr<Graph> made;
    if (graph != nullptr) made = std::make_unique<DriverGraph>(context_, graph);
    if (!status_.ok()) return status_.error();
    return made;
  }
  void Launch(const Graph& graph) override {
    if (!Begin("launching a graph")) return;
    Check(context_.driver->LaunchGraph(static_cast<const DriverGraph&>(graph).handle, stream_),
          "launching a graph");
  }
  void Launch(const GpuKernel& kernel, const LaunchShape& shape, const void* args,
              size_t bytes) override {
    TESSERA_CHECK(shape.threads > 0 && shape.wave > 0 && shape.threads % shape.wave == 0,
                  "a block's threads are a multiple of its waves'");
    TESSERA_CHECK(bytes <= kMaxArgumentBytes, "a kernel's arguments are too large");
    if (shape.blocks == 0 || !Begin("launching a kernel")) return;
    Check(context_.driver->Launch(kernel.function(), shape, args, bytes, stream_),
          "launching a kernel");
  }

  // Who asks is about to call a library, which works in the thread's context.
  void* native() const override {
    if (!context_.driver->NeedsMachineCode()) return nullptr;
    return context_.Enter() == 0 ? stream_ : nullptr;
  }

 private:
  static constexpr size_t kMaxArgumentBytes = 4096;

  // Whether there is still something to do: no error yet, and the device is this thread's.
  bool Begin(const char* doing) { return status_.ok() && Check(context_.Enter(), doing); }
  Error Refusal(Code code) const {
    return Internal(context_.name + " records no graph: " + context_.driver->ErrorText(code));
  }
  // Keeps the first error.
  bool Check(Code code, const char* doing) {
    if (code != 0) Fail(std::string(doing) + ": " + context_.driver->ErrorText(code));
    return status_.ok();
  }
  void Fail(const std::string& what) {
    if (status_.ok()) {
      status_ = Internal(context_.name + " failed while " + what +
                         "; nothing that was given to it since can be relied on");
    }
  }

  Context& context_;
  const Handle stream_;
  StagingPieces staging_;
  Status status_;
  bool capturing_ = false;
};

// The image that suits best: the latest one that the architecture runs.
const KernelImage* FindImage(const std::string& arch, std::span<const KernelImage> images) {
  const KernelImage* best = nullptr;
  for (const KernelImage& image : images) {
    if (!RunsCode(arch, image.arch)) continue;
    if (best == nullptr || std::strcmp(image.arch, best->arch) > 0) best = &image;
  }
  return best;
}

class DriverDevice final : public GpuDevice {
 public:
  explicit DriverDevice(std::unique_ptr<Context> context) : context_(std::move(context)) {}

  const DeviceInfo& info() const override { return context_->facts.info; }
  const std::string& matrix_policy() const override { return context_->facts.matrix_policy; }

  Result<Buffer> Allocate(int64_t bytes, MemoryKind kind) override {
    if (bytes < 0) return InvalidArgument("a buffer of " + std::to_string(bytes) + " bytes");
    if (bytes == 0) return Buffer();
    void* data = nullptr;
    Code code = context_->Enter();
    if (code == 0) {
      code = kind == MemoryKind::kPinnedHost ? context_->driver->AllocatePinned(bytes, &data)
                                             : context_->driver->Allocate(bytes, &data);
    }
    if (code != 0) {
      return OutOfMemory(context_->name + " refuses " + std::to_string(bytes) + " bytes (" +
                         Mebibytes(bytes) + ")" +
                         (kind == MemoryKind::kPinnedHost
                              ? std::string(" of pinned memory of the host")
                              : ": " + Mebibytes(free_bytes()) + " of " +
                                    Mebibytes(info().memory_bytes) + " are free") +
                         "; the driver says: " + context_->driver->ErrorText(code));
    }
    context_->Remember(data, bytes);
    return Buffer(data, bytes, std::make_unique<DriverMemory>(*context_, data, kind));
  }

  Result<std::unique_ptr<Stream>> NewStream() override {
    Handle stream = nullptr;
    Code code = context_->Enter();
    if (code == 0) code = context_->driver->NewStream(&stream);
    if (code != 0) {
      return Internal(context_->name + " makes no stream: " + context_->driver->ErrorText(code));
    }
    return std::unique_ptr<Stream>(std::make_unique<DriverStream>(*context_, stream));
  }

  int64_t free_bytes() const override {
    int64_t bytes = 0;
    if (context_->Enter() != 0 || context_->driver->FreeBytes(&bytes) != 0) return 0;
    return bytes;
  }

  Result<std::unique_ptr<GpuModule>> Load(std::span<const KernelImage> images) override {
    const KernelImage* const image = FindImage(info().arch, images);
    if (image == nullptr) {
      std::string built;
      for (const KernelImage& other : images) {
        built += (built.empty() ? "" : ", ") + std::string(other.arch);
      }
      return Unsupported("this build has no code for " + context_->name + ", which is " +
                         info().arch + " (it has " + (built.empty() ? "none" : built) +
                         "): configure it with TESSERA_DEVICE_ARCHS=" + info().arch);
    }
    Handle module = nullptr;
    Code code = context_->Enter();
    if (code == 0) code = context_->driver->LoadModule(*image, &module);
    if (code != 0) {
      DriverVersion version;
      context_->driver->Version(&version);
      return Unsupported(context_->name + ", driver " + Text(version) +
                         ", does not load the code for " + image->arch + ": " +
                         context_->driver->ErrorText(code));
    }
    return std::unique_ptr<GpuModule>(std::make_unique<DriverModule>(*context_, module));
  }

 private:
  const std::unique_ptr<Context> context_;
};

}  // namespace

bool RunsCode(const std::string& device, const std::string& image) {
  if (device == image) return true;
  if (!device.starts_with("sm_") || !image.starts_with("sm_")) return false;
  const bool exact = image.back() == 'a';  // uses what no other architecture has
  const int has = std::stoi(device.substr(3)), made_for = std::stoi(image.substr(3));
  return exact ? has == made_for : has / 10 == made_for / 10 && made_for <= has;
}

int CountGpus(GpuDriverTable* driver) {
  int count = 0;
  return driver->Start() == 0 && driver->Count(&count) == 0 ? count : 0;
}

Result<std::unique_ptr<GpuDevice>> OpenGpu(std::unique_ptr<GpuDriverTable> driver, int index,
                                           std::span<const std::string> architectures) {
  const std::string name = driver->DeviceName();
  const auto refuse = [&](const std::string& what, Code code) {
    return Unsupported(name + ": " + what + ": " + driver->ErrorText(code));
  };
  DriverVersion version;
  if (const Code code = driver->Version(&version); code != 0) {
    return refuse("the driver does not tell its version", code);
  }
  if (version < driver->NeededVersion()) {
    return Unsupported(name + ": the driver is version " + Text(version) +
                       ", and this build needs " + Text(driver->NeededVersion()) +
                       " or later: update the driver");
  }
  if (const Code code = driver->Start(); code != 0)
    return refuse("the driver does not start", code);
  int count = 0;
  if (const Code code = driver->Count(&count); code != 0) {
    return refuse("the driver does not tell its devices", code);
  }
  if (count == 0) return NotFound(name + ": there is a driver, but no device that it can use");
  if (index < 0 || index >= count) {
    return NotFound("there is no device " + name + ":" + std::to_string(index) + "; choose " +
                    name + ":0" +
                    (count > 1 ? " to " + name + ":" + std::to_string(count - 1) : ""));
  }
  GpuFacts facts;
  if (const Code code = driver->Describe(index, &facts); code != 0) {
    return refuse("device " + std::to_string(index) + " cannot be described", code);
  }
  bool has_code = !driver->NeedsMachineCode();
  std::string built;
  for (const std::string& architecture : architectures) {
    has_code = has_code || RunsCode(facts.info.arch, architecture);
    built += (built.empty() ? "" : ", ") + architecture;
  }
  if (!has_code) {
    return Unsupported(name + ":" + std::to_string(index) + " (" + facts.info.name + ") is " +
                       facts.info.arch + ", and this build has code for " +
                       (built.empty() ? "no GPU" : built) +
                       ": configure it with TESSERA_DEVICE_ARCHS=" + facts.info.arch);
  }
  Handle context = nullptr;
  if (const Code code = driver->OpenContext(index, &context); code != 0) {
    return refuse("device " + std::to_string(index) + " cannot be opened", code);
  }
  return std::unique_ptr<GpuDevice>(std::make_unique<DriverDevice>(
      std::make_unique<Context>(std::move(driver), index, std::move(facts), context)));
}

bool IsGpu(const Device& device) { return dynamic_cast<const GpuDevice*>(&device) != nullptr; }

}  // namespace tessera
