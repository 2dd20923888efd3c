// AMD's HIP runtime, loaded as the program runs, of ROCm 5 to 7. The few declarations that are
// needed stand here, as HIP's documentation has them, so that no header of ROCm is needed to build.
//
// The struct of a device's properties has another layout since ROCm 6, so it is asked for nothing
// that a function gives (attributes, whose numbers have stayed) but the architecture's name.
#include <algorithm>
#include <cctype>
#include <cstring>
#include <string_view>
#include <utility>

#include "device/gpu/driver_library.h"
#include "device/gpu/gpu_driver.h"
#include "device/gpu/vendor_driver.h"

namespace tessera {
namespace {

using HipError = int;
using Handle = VendorFunctions::Handle;

enum Attribute : int {
  kL2Bytes = 19,
  kMultiprocessors = 63,
  kMaxSharedBytes = 74,
};
constexpr int kDirectionFromAddresses = 4;  // hipMemcpyDefault
void* const kBufferPointer = reinterpret_cast<void*>(1);
void* const kBufferSize = reinterpret_cast<void*>(2);
void* const kBufferEnd = reinterpret_cast<void*>(3);

struct Functions : VendorFunctions {
  HipError (*launch_kernel)(Handle function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                            unsigned block_x, unsigned block_y, unsigned block_z,
                            unsigned shared_bytes, Handle stream, void** params, void** extra);
  HipError (*runtime_get_version)(int* version);
  HipError (*get_device_count)(int* count);
  HipError (*device_get_name)(char* name, int bytes, int device);
  HipError (*device_total_mem)(size_t* bytes, int device);
  HipError (*device_get_attribute)(int* value, int attribute, int device);
  HipError (*get_properties)(void* properties, int device);
  HipError (*set_device)(int device);
  HipError (*malloc)(void** data, size_t bytes);
  HipError (*free)(void* data);
  HipError (*host_malloc)(void** data, size_t bytes, unsigned flags);
  HipError (*host_free)(void* data);
  HipError (*memcpy_async)(void* to, const void* from, size_t bytes, int kind, Handle stream);
  HipError (*memset_async)(void* to, int byte, size_t bytes, Handle stream);
  HipError (*graph_instantiate)(Handle* executable, Handle graph, Handle* error_node, char* log,
                                size_t log_bytes);
  const char* (*get_error_string)(HipError error);
};

// "gfx942" of "gfx942:sramecc+:xnack-" in the struct of a device's properties: the first text
// "gfx" with a number after the 256 bytes of the name, with which the struct begins in every
// version.
std::string FindArchitecture(std::string_view properties) {
  constexpr size_t kNameBytes = 256;
  for (size_t at = properties.find("gfx", kNameBytes); at != std::string_view::npos;
       at = properties.find("gfx", at + 3)) {
    size_t end = at + 3;
    while (end < properties.size() && std::isxdigit(static_cast<unsigned char>(properties[end]))) {
      ++end;
    }
    if (end > at + 3) return std::string(properties.substr(at, end - at));
  }
  return "unknown";
}

class HipDriver final : public VendorDriver {
 public:
  explicit HipDriver(const Functions& functions) : VendorDriver(functions), f_(functions) {}

  std::string DeviceName() const override { return "hip"; }
  std::string ErrorText(Code code) override {
    const char* const text = f_.get_error_string(code);
    return std::string(text != nullptr ? text : "unknown error") + " (HIP error " +
           std::to_string(code) + ")";
  }

  Code Version(DriverVersion* version) override {
    int number = 0;  // 60342131: 6.3
    const Code code = f_.runtime_get_version(&number);
    *version = {number / 10000000, number / 100000 % 100};
    return code;
  }
  DriverVersion NeededVersion() const override { return {5, 3}; }
  Code Count(int* count) override { return f_.get_device_count(count); }

  Code Describe(int index, GpuFacts* facts) override {
    char name[256] = {};
    size_t bytes = 0;
    int units = 0, l2 = 0, shared = 0;
    std::string properties(size_t{16} << 10, '\0');  // several times what it has in any version
    Code code = f_.device_get_name(name, sizeof(name) - 1, index);
    if (code == 0) code = f_.device_total_mem(&bytes, index);
    for (const auto& [attribute, value] :
         {std::pair{kMultiprocessors, &units}, {kL2Bytes, &l2}, {kMaxSharedBytes, &shared}}) {
      if (code == 0) code = f_.device_get_attribute(value, attribute, index);
    }
    if (code == 0) code = f_.get_properties(properties.data(), index);
    const std::string arch = FindArchitecture(properties);
    facts->info = {.kind = DeviceKind::kHip,
                   .name = name[0] != '\0' ? name : arch.c_str(),
                   .arch = arch,
                   .features = {},
                   .num_units = units,
                   .memory_bytes = static_cast<int64_t>(bytes),
                   .l2_bytes = l2};
    facts->max_shared_bytes = shared;
    facts->matrix_policy = arch.starts_with("gfx9")    ? "mfma"
                           : arch.starts_with("gfx11") ? "wmma11"
                                                       : "wmma";
    return code;
  }

  // A context is a device's number, moved by one so that none is null.
  Code OpenContext(int index, Handle* context) override {
    *context = reinterpret_cast<Handle>(static_cast<uintptr_t>(index) + 1);
    return f_.set_device(index);
  }
  void CloseContext(int /*index*/, Handle /*context*/) override {}
  Code Enter(Handle context) override {
    return f_.set_device(static_cast<int>(reinterpret_cast<uintptr_t>(context)) - 1);
  }

  Code Allocate(int64_t bytes, void** data) override {
    return f_.malloc(data, static_cast<size_t>(bytes));
  }
  Code Free(void* data) override { return f_.free(data); }
  Code AllocatePinned(int64_t bytes, void** data) override {
    return f_.host_malloc(data, static_cast<size_t>(bytes), kPortableHostMemory);
  }
  Code FreePinned(void* data) override { return f_.host_free(data); }

  Code Copy(void* to, const void* from, int64_t bytes, Handle stream) override {
    return f_.memcpy_async(to, from, static_cast<size_t>(bytes), kDirectionFromAddresses, stream);
  }
  Code Fill(void* to, uint8_t byte, int64_t bytes, Handle stream) override {
    return f_.memset_async(to, byte, static_cast<size_t>(bytes), stream);
  }

  Code Find(Handle module, const std::string& name, int64_t /*shared_bytes*/,
            Handle* function) override {
    return f_.module_get_function(function, module, name.c_str());
  }
  // Blocks have the shared memory that the code object says (simt.h): none is added at the launch.
  Code Launch(Handle function, const LaunchShape& shape, const void* args, size_t bytes,
              Handle stream) override {
    void* extra[] = {kBufferPointer, const_cast<void*>(args), kBufferSize, &bytes, kBufferEnd};
    return f_.launch_kernel(function, static_cast<unsigned>(shape.blocks), 1, 1,
                            static_cast<unsigned>(shape.threads), 1, 1, 0, stream, nullptr, extra);
  }

 protected:
  Code Instantiate(Handle recorded, Handle* graph) override {
    return f_.graph_instantiate(graph, recorded, nullptr, nullptr, 0);
  }

 private:
  const Functions f_;
};

}  // namespace

Result<std::unique_ptr<GpuDriverTable>> LoadHipDriver() {
  auto library = DriverLibrary::Load(
      {"libamdhip64.so", "libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5"});
  if (!library.ok()) return NotFound("hip: " + library.error().message);
  Functions f{};
  library->Get("hipInit", &f.init);
  library->Get("hipRuntimeGetVersion", &f.runtime_get_version);
  library->Get("hipGetDeviceCount", &f.get_device_count);
  library->Get("hipDeviceGetName", &f.device_get_name);
  library->Get("hipDeviceTotalMem", &f.device_total_mem);
  library->Get("hipDeviceGetAttribute", &f.device_get_attribute);
  library->GetIfThere("hipGetDevicePropertiesR0600", &f.get_properties);
  if (f.get_properties == nullptr) library->Get("hipGetDeviceProperties", &f.get_properties);
  library->Get("hipSetDevice", &f.set_device);
  library->Get("hipMalloc", &f.malloc);
  library->Get("hipFree", &f.free);
  library->Get("hipHostMalloc", &f.host_malloc);
  library->Get("hipHostFree", &f.host_free);
  library->Get("hipMemGetInfo", &f.mem_get_info);
  library->Get("hipStreamCreateWithFlags", &f.stream_create);
  library->Get("hipStreamDestroy", &f.stream_destroy);
  library->Get("hipStreamSynchronize", &f.stream_synchronize);
  library->Get("hipEventCreateWithFlags", &f.event_create);
  library->Get("hipEventDestroy", &f.event_destroy);
  library->Get("hipEventRecord", &f.event_record);
  library->Get("hipEventSynchronize", &f.event_synchronize);
  library->Get("hipStreamWaitEvent", &f.stream_wait_event);
  library->Get("hipMemcpyAsync", &f.memcpy_async);
  library->Get("hipMemsetAsync", &f.memset_async);
  library->Get("hipModuleLoadData", &f.module_load_data);
  library->Get("hipModuleUnload", &f.module_unload);
  library->Get("hipModuleGetFunction", &f.module_get_function);
  library->Get("hipModuleLaunchKernel", &f.launch_kernel);
  library->Get("hipStreamBeginCapture", &f.begin_capture);
  library->Get("hipStreamEndCapture", &f.end_capture);
  library->Get("hipGraphInstantiate", &f.graph_instantiate);
  library->Get("hipGraphLaunch", &f.graph_launch);
  library->Get("hipGraphExecDestroy", &f.graph_exec_destroy);
  library->Get("hipGraphDestroy", &f.graph_destroy);
  library->Get("hipGetErrorString", &f.get_error_string);
  if (const Status status = library->Complete(); !status.ok()) {
    return Unsupported("hip: " + status.error().message);
  }
  return std::unique_ptr<GpuDriverTable>(std::make_unique<HipDriver>(f));
}

}  // namespace tessera
