// Backends outside of this library: a shared library with one C function, loaded by explicit path.
//
//   // my_backend.cc, linked to tessera::tessera into a shared library
//   class MyBackend final : public tessera::Backend { ... };
//   TESSERA_BACKEND_PLUGIN("mine", "what it is, in one line", [](const tessera::BackendContext& c)
//   {
//     return std::unique_ptr<tessera::Backend>(new MyBackend(c));
//   })
//
// Structs and virtual functions of C++ cross the border: a plugin is compiled with the headers of
// the program's version and with a compiler of the same C++ ABI. What can be checked of that is.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tessera/registry.h"

namespace tessera {

// Changes with every change of the seam's functions or of what a struct's members mean.
inline constexpr uint32_t kBackendPluginVersion = 1;

// Changes with the sizes of what crosses the border: other headers, another standard library.
constexpr uint64_t BackendLayout() {
  uint64_t layout = 0;
  for (const size_t size :
       {sizeof(AttentionSpec), sizeof(AttentionBatch), sizeof(KvCache), sizeof(RunArgs),
        sizeof(WriteKvArgs), sizeof(BlockPair), sizeof(BackendContext), sizeof(DeviceInfo),
        sizeof(Support), sizeof(std::string), sizeof(std::vector<int>), sizeof(ThreadPool)}) {
    layout = layout * 1000003 + size;
  }
  return layout;
}

// What the entry point returns; lives as long as the library.
struct BackendPluginV1 {
  uint32_t version;         // kBackendPluginVersion; stays first in every version
  uint64_t layout;          // BackendLayout()
  const char* name;         // as Backend::Name(): lower case letters, digits, '-' and '_'
  const char* description;  // one line
  Backend* (*create)(const BackendContext& context);  // new; the caller deletes it
};

// extern "C" const BackendPluginV1* tessera_backend_v1(void)
inline constexpr const char* kBackendPluginEntryPoint = "tessera_backend_v1";

// Loads the plugin at `path`, a file: no search path is consulted. It stays loaded until the
// program ends, since its backends live on in it. Errors: no such file, not a shared library for
// this machine, no entry point, another version or layout, a name that is taken or malformed.
// Running foreign code is what this does: load only what you trust.
Result<BackendEntry> LoadBackendPlugin(const std::string& path);

// All of them, in their order; two of one name are an error.
Result<std::vector<BackendEntry>> LoadBackendPlugins(const std::vector<std::string>& paths);

}  // namespace tessera

#define TESSERA_BACKEND_PLUGIN(NAME, DESCRIPTION, ...)                                   \
  extern "C" __attribute__((visibility("default"))) const ::tessera::BackendPluginV1*    \
  tessera_backend_v1() {                                                                 \
    static const ::tessera::BackendPluginV1 plugin = {                                   \
        ::tessera::kBackendPluginVersion, ::tessera::BackendLayout(), NAME, DESCRIPTION, \
        [](const ::tessera::BackendContext& plugin_context) -> ::tessera::Backend* {     \
          std::unique_ptr<::tessera::Backend> backend = (__VA_ARGS__)(plugin_context);   \
          return backend.release();                                                      \
        }};                                                                              \
    return &plugin;                                                                      \
  }
