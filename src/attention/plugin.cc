#include "tessera/plugin.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/shared_library.h"

namespace tessera {
namespace {

bool IsName(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  return !name.empty() && name != "auto" && name != "all" &&
         std::all_of(name.begin(), name.end(), allowed);
}

Error OtherVersion(const std::string& start, uint32_t version) {
  return Unsupported(start + " was built for version " + std::to_string(version) +
                     " of the interface, but this program has version " +
                     std::to_string(kBackendPluginVersion) + ": rebuild it with its headers");
}

}  // namespace

Result<BackendEntry> LoadBackendPlugin(const std::string& path) {
  const std::string start = "the attention plugin " + path;
  auto symbol = LoadSymbol(path, kBackendPluginEntryPoint);
  if (!symbol.ok()) {
    if (LoadSymbol(path, kOldBackendPluginEntryPoint).ok()) return OtherVersion(start, 1);
    return Error{symbol.error().code, "an attention plugin: " + symbol.error().message};
  }
  const auto entry_point = reinterpret_cast<const BackendPluginV2* (*)()>(*symbol);
  const BackendPluginV2* const plugin = entry_point();
  if (plugin == nullptr) return Corrupt(start + " returns nothing from its entry point");
  if (plugin->version != kBackendPluginVersion) return OtherVersion(start, plugin->version);
  if (plugin->layout != BackendLayout()) {
    return Unsupported(start +
                       " was built with other headers or another standard library than this "
                       "program: rebuild it with its headers");
  }
  if (plugin->probe == nullptr || plugin->create == nullptr || plugin->name == nullptr ||
      !IsName(plugin->name)) {
    return Corrupt(start +
                   " brings no backend with a name of lower case letters, digits, '-' and '_'");
  }
  BackendEntry entry;
  entry.name = plugin->name;
  entry.description = plugin->description != nullptr ? plugin->description : "";
  for (const BackendEntry& own : BackendEntries()) {
    if (own.name == entry.name) {
      return InvalidArgument(start + " brings the backend '" + entry.name +
                             "', but this build has one of that name");
    }
  }
  entry.probe = plugin->probe;
  entry.create = [start, create = plugin->create](
                     const BackendContext& context) -> Result<std::unique_ptr<Backend>> {
    std::unique_ptr<Backend> backend(create(context));
    if (backend == nullptr) return Internal(start + " could not make its backend on this device");
    return backend;
  };
  return entry;
}

Result<std::vector<BackendEntry>> LoadBackendPlugins(const std::vector<std::string>& paths) {
  std::vector<BackendEntry> entries;
  for (const std::string& path : paths) {
    TESSERA_ASSIGN_OR_RETURN(BackendEntry entry, LoadBackendPlugin(path));
    for (const BackendEntry& other : entries) {
      if (other.name == entry.name) {
        return InvalidArgument("two attention plugins bring the backend '" + entry.name +
                               "'; load one of them");
      }
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace tessera
