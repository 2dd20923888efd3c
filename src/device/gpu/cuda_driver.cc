// NVIDIA's driver, loaded as the program runs. The few declarations that are needed stand here, as
// the CUDA driver API's documentation has them, so that no header of CUDA is needed to build.
#include <algorithm>
#include <utility>

#include "device/gpu/driver_library.h"
#include "device/gpu/gpu_driver.h"
#include "device/gpu/vendor_driver.h"

#if !defined(TESSERA_CUDA_MAJOR)
#define TESSERA_CUDA_MAJOR 12  // of the compiler that made the device code
#endif

namespace tessera {
namespace {

using CudaError = int;
using CudaDevice = int;
using Address = unsigned long long;
using Handle = VendorFunctions::Handle;

enum Attribute : int {
  kMultiprocessors = 16,
  kL2Bytes = 38,
  kMajor = 75,
  kMinor = 76,
  kMaxSharedBytesOptIn = 97,
};
constexpr int kMaxDynamicSharedBytes = 8;                 // CUfunction_attribute
void* const kBufferPointer = reinterpret_cast<void*>(1);  // CU_LAUNCH_PARAM_...
void* const kBufferSize = reinterpret_cast<void*>(2);

// CUlaunchAttribute and CUlaunchConfig.
struct LaunchAttribute {
  int id;
  int padding;
  int value;
  char rest[60];  // of a union of 64 bytes
};
struct LaunchConfig {
  unsigned blocks[3], threads[3];
  unsigned shared_bytes;
  Handle stream;
  const LaunchAttribute* attributes;
  unsigned num_attributes;
};
constexpr int kProgrammaticStreamSerialization = 6;  // CU_LAUNCH_ATTRIBUTE_...

struct Functions : VendorFunctions {
  CudaError (*driver_get_version)(int* version);
  CudaError (*device_get_count)(int* count);
  CudaError (*device_get)(CudaDevice* device, int index);
  CudaError (*device_get_name)(char* name, int bytes, CudaDevice device);
  CudaError (*device_total_mem)(size_t* bytes, CudaDevice device);
  CudaError (*device_get_attribute)(int* value, int attribute, CudaDevice device);
  CudaError (*primary_retain)(Handle* context, CudaDevice device);
  CudaError (*primary_release)(CudaDevice device);
  CudaError (*ctx_set_current)(Handle context);
  CudaError (*mem_alloc)(Address* data, size_t bytes);
  CudaError (*mem_free)(Address data);
  CudaError (*mem_host_alloc)(void** data, size_t bytes, unsigned flags);
  CudaError (*mem_free_host)(void* data);
  CudaError (*memcpy_async)(Address to, Address from, size_t bytes, Handle stream);
  CudaError (*memset_d8_async)(Address to, unsigned char byte, size_t bytes, Handle stream);
  CudaError (*func_set_attribute)(Handle function, int attribute, int value);
  CudaError (*launch_kernel)(const LaunchConfig* config, Handle function, void** parameters,
                             void** extra);
  CudaError (*graph_instantiate)(Handle* executable, Handle graph, unsigned long long flags);
  CudaError (*get_error_string)(CudaError error, const char** text);
};

Address AddressOf(const void* data) { return reinterpret_cast<Address>(data); }

class CudaDriver final : public VendorDriver {
 public:
  explicit CudaDriver(const Functions& functions) : VendorDriver(functions), f_(functions) {}

  std::string DeviceName() const override { return "cuda"; }
  std::string ErrorText(Code code) override {
    const char* text = nullptr;
    if (f_.get_error_string(code, &text) != 0 || text == nullptr) text = "unknown error";
    return std::string(text) + " (CUDA error " + std::to_string(code) + ")";
  }

  Code Version(DriverVersion* version) override {
    int number = 0;  // 12040: 12.4
    const Code code = f_.driver_get_version(&number);
    *version = {number / 1000, number % 1000 / 10};
    return code;
  }
  // A driver runs the code of every compiler of its major version, and of earlier ones.
  DriverVersion NeededVersion() const override { return {std::max(12, TESSERA_CUDA_MAJOR), 0}; }
  Code Count(int* count) override { return f_.device_get_count(count); }

  Code Describe(int index, GpuFacts* facts) override {
    CudaDevice device = 0;
    char name[256] = {};
    size_t bytes = 0;
    int units = 0, l2 = 0, major = 0, minor = 0, shared = 0;
    Code code = f_.device_get(&device, index);
    if (code == 0) code = f_.device_get_name(name, sizeof(name) - 1, device);
    if (code == 0) code = f_.device_total_mem(&bytes, device);
    for (const auto& [attribute, value] : {std::pair{kMultiprocessors, &units},
                                           {kL2Bytes, &l2},
                                           {kMajor, &major},
                                           {kMinor, &minor},
                                           {kMaxSharedBytesOptIn, &shared}}) {
      if (code == 0) code = f_.device_get_attribute(value, attribute, device);
    }
    facts->info = {.kind = DeviceKind::kCuda,
                   .name = name,
                   .arch = "sm_" + std::to_string(major * 10 + minor),
                   .features = {},
                   .num_units = units,
                   .memory_bytes = static_cast<int64_t>(bytes),
                   .l2_bytes = l2};
    facts->max_shared_bytes = shared;
    facts->matrix_policy = "mma";
    return code;
  }

  // The device's primary context, which libraries of CUDA's runtime share.
  Code OpenContext(int index, Handle* context) override {
    CudaDevice device = 0;
    int major = 0;
    Code code = f_.device_get(&device, index);
    if (code == 0) code = f_.device_get_attribute(&major, kMajor, device);
    begins_early_ = major >= 9;
    return code != 0 ? code : f_.primary_retain(context, device);
  }
  void CloseContext(int index, Handle /*context*/) override {
    CudaDevice device = 0;
    if (f_.device_get(&device, index) == 0) f_.primary_release(device);
  }
  Code Enter(Handle context) override { return f_.ctx_set_current(context); }

  Code Allocate(int64_t bytes, void** data) override {
    Address address = 0;
    const Code code = f_.mem_alloc(&address, static_cast<size_t>(bytes));
    *data = reinterpret_cast<void*>(address);
    return code;
  }
  Code Free(void* data) override { return f_.mem_free(AddressOf(data)); }
  Code AllocatePinned(int64_t bytes, void** data) override {
    return f_.mem_host_alloc(data, static_cast<size_t>(bytes), kPortableHostMemory);
  }
  Code FreePinned(void* data) override { return f_.mem_free_host(data); }

  Code Copy(void* to, const void* from, int64_t bytes, Handle stream) override {
    return f_.memcpy_async(AddressOf(to), AddressOf(from), static_cast<size_t>(bytes), stream);
  }
  Code Fill(void* to, uint8_t byte, int64_t bytes, Handle stream) override {
    return f_.memset_d8_async(AddressOf(to), byte, static_cast<size_t>(bytes), stream);
  }

  Code Find(Handle module, const std::string& name, int64_t shared_bytes,
            Handle* function) override {
    const Code code = f_.module_get_function(function, module, name.c_str());
    if (code != 0 || shared_bytes == 0) return code;
    return f_.func_set_attribute(*function, kMaxDynamicSharedBytes, static_cast<int>(shared_bytes));
  }
  Code Launch(Handle function, const LaunchShape& shape, const void* args, size_t bytes,
              Handle stream) override {
    void* extra[] = {kBufferPointer, const_cast<void*>(args), kBufferSize, &bytes, nullptr};
    // Every kernel waits itself for the one before it (simt.h).
    static constexpr LaunchAttribute kBeginsEarly = {kProgrammaticStreamSerialization, 0, 1, {}};
    const LaunchConfig config = {.blocks = {static_cast<unsigned>(shape.blocks), 1, 1},
                                 .threads = {static_cast<unsigned>(shape.threads), 1, 1},
                                 .shared_bytes = static_cast<unsigned>(shape.shared_bytes),
                                 .stream = stream,
                                 .attributes = &kBeginsEarly,
                                 .num_attributes = begins_early_ ? 1U : 0U};
    return f_.launch_kernel(&config, function, nullptr, extra);
  }

 protected:
  Code Instantiate(Handle recorded, Handle* graph) override {
    return f_.graph_instantiate(graph, recorded, 0);
  }

 private:
  const Functions f_;
  bool begins_early_ = false;  // whether the device lets kernels wait: from sm_90 on
};

}  // namespace

Result<std::unique_ptr<GpuDriverTable>> LoadCudaDriver() {
  auto library = DriverLibrary::Load({"libcuda.so.1"});
  if (!library.ok()) return NotFound("cuda: " + library.error().message);
  Functions f{};
  library->Get("cuInit", &f.init);
  library->Get("cuDriverGetVersion", &f.driver_get_version);
  library->Get("cuDeviceGetCount", &f.device_get_count);
  library->Get("cuDeviceGet", &f.device_get);
  library->Get("cuDeviceGetName", &f.device_get_name);
  library->Get("cuDeviceTotalMem_v2", &f.device_total_mem);
  library->Get("cuDeviceGetAttribute", &f.device_get_attribute);
  library->Get("cuDevicePrimaryCtxRetain", &f.primary_retain);
  library->Get("cuDevicePrimaryCtxRelease_v2", &f.primary_release);
  library->Get("cuCtxSetCurrent", &f.ctx_set_current);
  library->Get("cuMemAlloc_v2", &f.mem_alloc);
  library->Get("cuMemFree_v2", &f.mem_free);
  library->Get("cuMemHostAlloc", &f.mem_host_alloc);
  library->Get("cuMemFreeHost", &f.mem_free_host);
  library->Get("cuMemGetInfo_v2", &f.mem_get_info);
  library->Get("cuStreamCreate", &f.stream_create);
  library->Get("cuStreamDestroy_v2", &f.stream_destroy);
  library->Get("cuStreamSynchronize", &f.stream_synchronize);
  library->Get("cuEventCreate", &f.event_create);
  library->Get("cuEventDestroy_v2", &f.event_destroy);
  library->Get("cuEventRecord", &f.event_record);
  library->Get("cuEventSynchronize", &f.event_synchronize);
  library->Get("cuStreamWaitEvent", &f.stream_wait_event);
  library->Get("cuMemcpyAsync", &f.memcpy_async);
  library->Get("cuMemsetD8Async", &f.memset_d8_async);
  library->Get("cuModuleLoadData", &f.module_load_data);
  library->Get("cuModuleUnload", &f.module_unload);
  library->Get("cuModuleGetFunction", &f.module_get_function);
  library->Get("cuFuncSetAttribute", &f.func_set_attribute);
  library->Get("cuLaunchKernelEx", &f.launch_kernel);
  library->Get("cuStreamBeginCapture_v2", &f.begin_capture);
  library->Get("cuStreamEndCapture", &f.end_capture);
  library->Get("cuGraphInstantiateWithFlags", &f.graph_instantiate);
  library->Get("cuGraphLaunch", &f.graph_launch);
  library->Get("cuGraphExecDestroy", &f.graph_exec_destroy);
  library->Get("cuGraphDestroy", &f.graph_destroy);
  library->Get("cuGetErrorString", &f.get_error_string);
  if (const Status status = library->Complete(); !status.ok()) {
    return Unsupported("cuda: " + status.error().message);
  }
  return std::unique_ptr<GpuDriverTable>(std::make_unique<CudaDriver>(f));
}

}  // namespace tessera
