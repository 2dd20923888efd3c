#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>

#include "device/gpu/built_architectures.h"
#include "device/gpu/gpu_driver.h"
#include "device/gpu/rocm_emulated_device.h"
#include "device/gpu/simt_device.h"
#include "tessera/device.h"

namespace tessera {
namespace {

using OpenedDevice = Result<std::unique_ptr<Device>>;

// "1" of "cuda:1"; without a suffix 0.
Result<int> ParseIndex(const std::string& name, std::string_view suffix) {
  int index = 0;
  const char* const end = suffix.data() + suffix.size();
  if (suffix.empty()) return index;
  const auto [rest, error] = std::from_chars(suffix.data(), end, index);
  if (error != std::errc() || rest != end || index < 0) {
    return NotFound("there is no device '" + name + "': a number stands after the colon, as in " +
                    name.substr(0, name.find(':')) + ":0");
  }
  return index;
}

OpenedDevice OpenWith(Result<std::unique_ptr<GpuDriverTable>> (*load)(), const std::string& name,
                      std::string_view suffix) {
  TESSERA_ASSIGN_OR_RETURN(const int index, ParseIndex(name, suffix));
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<GpuDriverTable> driver, load());
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<GpuDevice> device,
                           OpenGpu(std::move(driver), index, BuiltArchitectures()));
  return std::unique_ptr<Device>(std::move(device));
}

OpenedDevice RefuseSuffix(const std::string& name) {
  return NotFound("there is no device '" + name + "': " + name.substr(0, name.find(':')) +
                  " has no number");
}

// A kind of device: its name, and how `name` is opened, of which `suffix` stands after a colon.
struct Opener {
  const char* kind;
  OpenedDevice (*open)(const std::string& name, std::string_view suffix);
};

constexpr Opener kOpeners[] = {
    {"cpu",
     [](const std::string& name, std::string_view suffix) -> OpenedDevice {
       if (!suffix.empty()) return RefuseSuffix(name);
       return CreateCpuDevice();
     }},
    {"fenced",
     [](const std::string& name, std::string_view suffix) -> OpenedDevice {
       if (!suffix.empty()) return RefuseSuffix(name);
       return CreateFencedDevice();
     }},
    {"cuda", [](const std::string& name,
                std::string_view suffix) { return OpenWith(&LoadCudaDriver, name, suffix); }},
    {"hip", [](const std::string& name,
               std::string_view suffix) { return OpenWith(&LoadHipDriver, name, suffix); }},
    {"simt-emulated",  // or "simt-emulated:mfma": with whose matrix instructions
     [](const std::string& /*name*/, std::string_view suffix) -> OpenedDevice {
       SimtDeviceOptions options;
       if (!suffix.empty()) options.matrix_policy = suffix;
       TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<GpuDevice> device, OpenSimtDevice(options));
       return std::unique_ptr<Device>(std::move(device));
     }},
    {"rocm-emulated",
     [](const std::string& name, std::string_view suffix) -> OpenedDevice {
       if (!suffix.empty()) return RefuseSuffix(name);
       TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<GpuDevice> device, OpenRocmEmulatedDevice());
       return std::unique_ptr<Device>(std::move(device));
     }},
};

// The first usable GPU, or else the CPU.
OpenedDevice OpenBest(std::string* why) {
  std::string refusals;
  for (const char* const name : {"cuda", "hip"}) {
    OpenedDevice device = OpenDevice(name);
    if (device.ok()) {
      if (why != nullptr) *why = std::string(name) + ":0, " + (*device)->info().name + refusals;
      return device;
    }
    refusals += "; not " + device.error().message;
  }
  if (why != nullptr) *why = "cpu" + refusals;
  return CreateCpuDevice();
}

}  // namespace

OpenedDevice OpenDevice(const std::string& name, std::string* why) {
  if (name == "auto") return OpenBest(why);
  const size_t colon = name.find(':');
  const std::string kind = name.substr(0, colon);
  const std::string_view suffix =
      colon == std::string::npos ? std::string_view() : std::string_view(name).substr(colon + 1);
  std::string known = "auto";
  for (const Opener& opener : kOpeners) {
    if (kind == opener.kind) {
      OpenedDevice device = opener.open(name, suffix);
      if (device.ok() && why != nullptr) *why = name + ", as asked for";
      return device;
    }
    known += std::string(", ") + opener.kind;
  }
  return NotFound("there is no device '" + name + "'; choose one of " + known);
}

}  // namespace tessera
