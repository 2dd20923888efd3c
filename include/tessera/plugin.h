// Backends outside of this library: a shared library with one C function, loaded by explicit path.
//
//   // my_backend.cc, linked to tessera::tessera into a shared library
//   class MyBackend final : public tessera::Backend { ... };
//   tessera::Support Probe(const tessera::DeviceInfo& device) { ... }
//   TESSERA_BACKEND_PLUGIN("mine", "what it is, in one line", Probe,
//                          [](const tessera::BackendContext& c) {
//                            return std::unique_ptr<tessera::Backend>(new MyBackend(c));
//                          })
//
// The plug-in ABI passes C++ structs and vtables: build a plugin against the program's headers with
// a compiler of the same C++ ABI. Loading checks what it can.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tessera/registry.h"

namespace tessera {

// Changes with every change of the seam's functions or of what a struct's members mean.
inline constexpr uint32_t kBackendPluginVersion = 2;

// Changes with the sizes of what crosses the border: other headers, another standard library.
constexpr uint64_t BackendLayout() {
  uint64_t layout = 0;
  for (const size_t size :
       {sizeof(AttentionSpec), sizeof(AttentionBatch), sizeof(KvCache), sizeof(RunArgs),
        sizeof(WriteKvArgs), sizeof(BackendContext), sizeof(DeviceInfo), sizeof(PlanCapacity),
        sizeof(AttentionPlan), sizeof(Support), sizeof(std::string), sizeof(std::vector<int>),
        sizeof(ThreadPool)}) {
    layout = layout * 1000003 + size;
  }
  return layout;
}

// What the entry point returns; lives as long as the library.
struct BackendPluginV2 {
  uint32_t version;         // kBackendPluginVersion; stays first in every version
  uint64_t layout;          // BackendLayout()
  const char* name;         // as Backend::Name(): lower case letters, digits, '-' and '_'
  const char* description;  // one line
  Support (*probe)(const DeviceInfo& device);
  Backend* (*create)(const BackendContext& context);  // new; the caller deletes it
};

// extern "C" const BackendPluginV2* tessera_backend(void); plugins of version 1 exported
// tessera_backend_v1 and are refused with a sentence.
inline constexpr const char* kBackendPluginEntryPoint = "tessera_backend";
inline constexpr const char* kOldBackendPluginEntryPoint = "tessera_backend_v1";

// Loads the plugin at `path`, a file: no search path is consulted. It stays loaded until the
// program ends, since its backends live on in it. Errors: no such file, not a shared library for
// this machine, no entry point, another version or layout, a name that is taken or malformed.
// Running foreign code is what this does: load only what you trust.
Result<BackendEntry> LoadBackendPlugin(const std::string& path);

// All of them, in their order; two of one name are an error.
Result<std::vector<BackendEntry>> LoadBackendPlugins(const std::vector<std::string>& paths);

}  // namespace tessera

#define TESSERA_BACKEND_PLUGIN(NAME, DESCRIPTION, PROBE, ...)                          \
  extern "C" __attribute__((visibility("default"))) const ::tessera::BackendPluginV2*  \
  tessera_backend() {                                                                  \
    static const ::tessera::BackendPluginV2 plugin = {                                 \
        ::tessera::kBackendPluginVersion,                                              \
        ::tessera::BackendLayout(),                                                    \
        NAME,                                                                          \
        DESCRIPTION,                                                                   \
        PROBE,                                                                         \
        [](const ::tessera::BackendContext& plugin_context) -> ::tessera::Backend* {   \
          std::unique_ptr<::tessera::Backend> backend = (__VA_ARGS__)(plugin_context); \
          return backend.release();                                                    \
        }};                                                                            \
    return &plugin;                                                                    \
  }
