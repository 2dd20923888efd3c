#include "device/gpu/gpu_drivers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace tessera {
namespace {

namespace fs = std::filesystem;

class GpuDriversTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / ("tessera-devices-" + std::to_string(getpid()));
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::string Find(const GpuMaker& maker, const std::vector<std::string>& files) {
    for (const std::string& file : files) std::ofstream(directory_ / file) << "";
    std::string text = Describe(FindGpuDrivers({maker}, directory_).at(0));
    for (size_t at; (at = text.find(directory_.string())) != std::string::npos;) {
      text.replace(at, directory_.string().size(), "DEV");
    }
    return text;
  }

  fs::path directory_;
};

constexpr const char* kMissing = "libtessera_no_such_driver.so.1";
constexpr const char* kPresent = "libc.so.6";

TEST_F(GpuDriversTest, SaysWhatIsThereAndWhatIsMissing) {
  EXPECT_EQ(Find({"A", kMissing, "nvidia", true}, {}), "none found");
  EXPECT_EQ(Find({"A", kPresent, "nvidia", true}, {}),
            std::string("driver ") + kPresent + ", but no device");
  // Files that only begin alike are no GPUs.
  EXPECT_EQ(Find({"A", kMissing, "nvidia", true}, {"nvidia", "nvidiactl", "nvidia-uvm", "kfd2"}),
            "none found");
  EXPECT_EQ(Find({"A", kPresent, "nvidia", true}, {"nvidia1", "nvidia0"}),
            std::string("driver ") + kPresent + ", DEV/nvidia0, DEV/nvidia1");
  EXPECT_EQ(Find({"B", kMissing, "kfd", false}, {"kfd"}),
            std::string("DEV/kfd, but the driver's library ") + kMissing + " cannot be loaded");
}

TEST_F(GpuDriversTest, AFolderThatIsNotThereHoldsNoDevices) {
  EXPECT_FALSE(FindGpuDrivers({{"A", kMissing, "x", true}}, "/no/such/folder").at(0).found());
}

TEST_F(GpuDriversTest, ThisMachineIsAskedForEveryMaker) {
  const auto drivers = FindGpuDrivers();
  ASSERT_EQ(drivers.size(), 2u);
  EXPECT_EQ(drivers[0].maker, "NVIDIA");
  EXPECT_EQ(drivers[1].maker, "AMD");
}

}  // namespace
}  // namespace tessera
