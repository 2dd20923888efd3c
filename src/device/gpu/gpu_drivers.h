// Whether GPUs and their drivers are there, for reports: looked up, never used. OpenDevice() says
// whether they can be used, and why not.
#pragma once

#include <string>
#include <vector>

namespace tessera {

// What one maker's GPUs need.
struct GpuMaker {
  std::string name;         // "NVIDIA"
  std::string library;      // of the driver, as dlopen() finds it
  std::string device_file;  // begins so in /dev; "nvidia" with a number, "kfd" alone
  bool numbered = false;    // one file for each GPU, with its number at the end
  std::string device = {};  // "cuda", as OpenDevice() takes it
};

struct GpuDriver {
  std::string maker;
  std::string library;
  bool loads = false;                // the library can be loaded
  std::vector<std::string> devices;  // device files, in order of their names
  std::string device = {};           // the maker's

  bool found() const { return loads || !devices.empty(); }
};

// NVIDIA and AMD.
const std::vector<GpuMaker>& GpuMakers();

// One answer for each of `makers`. Loads the drivers' libraries for a moment.
std::vector<GpuDriver> FindGpuDrivers(const std::vector<GpuMaker>& makers = GpuMakers(),
                                      const std::string& device_directory = "/dev");

// "none found", "driver libcuda.so.1, /dev/nvidia0", or what of the two is missing.
std::string Describe(const GpuDriver& driver);

}  // namespace tessera
