// A plugin that breaks the promise that TESSERA_BROKEN names, with the function
// TESSERA_ENTRY_POINT.
#include <string_view>

#include "tessera/plugin.h"

namespace {

constexpr std::string_view kBroken = TESSERA_BROKEN;

tessera::BackendPluginV2 MakePlugin() {
  tessera::BackendPluginV2 plugin = {
      tessera::kBackendPluginVersion,
      tessera::BackendLayout(),
      "fine",
      "",
      [](const tessera::DeviceInfo&) { return tessera::Support(); },
      [](const tessera::BackendContext&) -> tessera::Backend* { return nullptr; }};
  if (kBroken == "version") ++plugin.version;
  if (kBroken == "layout") plugin.layout ^= 1;
  if (kBroken == "name") plugin.name = "Not A Name";
  if (kBroken == "taken") plugin.name = "portable";
  return plugin;
}

const tessera::BackendPluginV2* EntryPoint() {
  static const tessera::BackendPluginV2 plugin = MakePlugin();
  return kBroken == "null" ? nullptr : &plugin;
}

}  // namespace

extern "C" const tessera::BackendPluginV2* TESSERA_ENTRY_POINT() { return EntryPoint(); }
