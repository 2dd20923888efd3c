#include "device/gpu/gpu_drivers.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "base/shared_library.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

bool IsDeviceOf(const GpuMaker& maker, std::string_view file) {
  if (!maker.numbered) return file == maker.device_file;
  if (!file.starts_with(maker.device_file)) return false;
  const std::string_view number = file.substr(maker.device_file.size());
  return !number.empty() &&
         std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

const std::vector<GpuMaker>& GpuMakers() {
  static const std::vector<GpuMaker> makers = {{"NVIDIA", "libcuda.so.1", "nvidia", true, "cuda"},
                                               {"AMD", "libamdhip64.so", "kfd", false, "hip"}};
  return makers;
}

std::vector<GpuDriver> FindGpuDrivers(const std::vector<GpuMaker>& makers,
                                      const std::string& device_directory) {
  std::vector<GpuDriver> drivers;
  for (const GpuMaker& maker : makers) {
    GpuDriver driver{maker.name, maker.library, CanLoadLibrary(maker.library), {}, maker.device};
    std::error_code error;  // a directory that cannot be read holds no device for us
    for (fs::directory_iterator entry(device_directory, error), end; !error && entry != end;
         entry.increment(error)) {
      if (IsDeviceOf(maker, entry->path().filename().string())) {
        driver.devices.push_back(entry->path().string());
      }
    }
    std::sort(driver.devices.begin(), driver.devices.end());
    drivers.push_back(std::move(driver));
  }
  return drivers;
}

std::string Describe(const GpuDriver& driver) {
  if (!driver.found()) return "none found";
  std::string devices;
  for (const std::string& device : driver.devices) {
    devices += (devices.empty() ? "" : ", ") + device;
  }
  if (!driver.loads) {
    return devices + ", but the driver's library " + driver.library + " cannot be loaded";
  }
  if (devices.empty()) return "driver " + driver.library + ", but no device";
  return "driver " + driver.library + ", " + devices;
}

}  // namespace tessera
