// What the driver APIs of NVIDIA and AMD share to the letter but for the functions' names.
#pragma once

#include <cstddef>
#include <cstdint>

#include "device/gpu/gpu_driver.h"

namespace tessera {

struct VendorFunctions {
  using Error = int;
  using Handle = void*;  // of a context, stream, event, module, function or graph

  Error (*init)(unsigned flags);
  Error (*mem_get_info)(size_t* free, size_t* total);
  Error (*stream_create)(Handle* stream, unsigned flags);
  Error (*stream_destroy)(Handle stream);
  Error (*stream_synchronize)(Handle stream);
  Error (*event_create)(Handle* event, unsigned flags);
  Error (*event_destroy)(Handle event);
  Error (*event_record)(Handle event, Handle stream);
  Error (*event_synchronize)(Handle event);
  Error (*stream_wait_event)(Handle stream, Handle event, unsigned flags);
  Error (*module_load_data)(Handle* module, const void* image);
  Error (*module_unload)(Handle module);
  Error (*module_get_function)(Handle* function, Handle module, const char* name);
  Error (*begin_capture)(Handle stream, int mode);
  Error (*end_capture)(Handle stream, Handle* graph);
  Error (*graph_launch)(Handle executable, Handle stream);
  Error (*graph_exec_destroy)(Handle executable);
  Error (*graph_destroy)(Handle graph);
};

class VendorDriver : public GpuDriverTable {
 public:
  explicit VendorDriver(const VendorFunctions& functions) : f_(functions) {}

  Code Start() override { return f_.init(0); }
  Code FreeBytes(int64_t* bytes) override {
    size_t free = 0, total = 0;
    const Code code = f_.mem_get_info(&free, &total);
    *bytes = static_cast<int64_t>(free);
    return code;
  }

  Code NewStream(Handle* stream) override { return f_.stream_create(stream, kNonBlockingStream); }
  Code EndStream(Handle stream) override { return f_.stream_destroy(stream); }
  Code Synchronize(Handle stream) override { return f_.stream_synchronize(stream); }
  Code NewEvent(Handle* event) override { return f_.event_create(event, kEventWithoutTiming); }
  Code EndEvent(Handle event) override { return f_.event_destroy(event); }
  Code Record(Handle event, Handle stream) override { return f_.event_record(event, stream); }
  Code Wait(Handle stream, Handle event) override { return f_.stream_wait_event(stream, event, 0); }
  Code WaitOnHost(Handle event) override { return f_.event_synchronize(event); }

  Code LoadModule(const KernelImage& image, Handle* module) override {
    return f_.module_load_data(module, image.code.data());
  }
  Code UnloadModule(Handle module) override { return f_.module_unload(module); }

  Code BeginCapture(Handle stream) override {
    return f_.begin_capture(stream, kCaptureOfThisThreadOnly);
  }
  Code EndCapture(Handle stream, Handle* graph) override {
    Handle recorded = nullptr;
    Code code = f_.end_capture(stream, &recorded);
    if (code == 0) code = Instantiate(recorded, graph);
    if (recorded != nullptr) f_.graph_destroy(recorded);
    return code;
  }
  Code LaunchGraph(Handle graph, Handle stream) override { return f_.graph_launch(graph, stream); }
  Code EndGraph(Handle graph) override { return f_.graph_exec_destroy(graph); }

 protected:
  virtual Code Instantiate(Handle recorded, Handle* graph) = 0;

  // Of CU_MEMHOSTALLOC_PORTABLE and hipHostMallocPortable.
  static constexpr unsigned kPortableHostMemory = 1;

 private:
  static constexpr unsigned kNonBlockingStream = 1;   // CU_STREAM_NON_BLOCKING, and HIP's
  static constexpr unsigned kEventWithoutTiming = 2;  // CU_EVENT_DISABLE_TIMING, and HIP's
  static constexpr int kCaptureOfThisThreadOnly = 1;  // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL, HIP's

  const VendorFunctions f_;
};

}  // namespace tessera
