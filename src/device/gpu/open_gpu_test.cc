// Bad machines, made up by a double of the table of driver functions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "device/gpu/built_architectures.h"
#include "device/gpu/driver_library.h"
#include "device/gpu/emulator/emulated_driver.h"
#include "device/gpu/gpu_driver.h"

namespace tessera {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

struct Machine {
  DriverVersion version = {13, 0};
  int start_code = 0;
  int count = 2;
  std::string arch = "sm_90";
  int64_t memory_bytes = int64_t{1} << 20;  // that can be allocated
  int64_t launches_until_lost = 1000;
};

class FakeDriver final : public EmulatedDriver {
 public:
  explicit FakeDriver(Machine machine) : machine_(std::move(machine)) {}

  std::string DeviceName() const override { return "cuda"; }
  std::string ErrorText(Code code) override {
    return code == 999 ? "the device fell off the bus" : "error " + std::to_string(code);
  }
  Code Start() override { return machine_.start_code; }
  Code Version(DriverVersion* version) override {
    *version = machine_.version;
    return 0;
  }
  DriverVersion NeededVersion() const override { return {12, 4}; }
  Code Count(int* count) override {
    *count = machine_.count;
    return 0;
  }
  Code Describe(int /*index*/, GpuFacts* facts) override {
    facts->info.kind = DeviceKind::kCuda;
    facts->info.name = "NVIDIA Imaginary";
    facts->info.arch = machine_.arch;
    facts->info.memory_bytes = int64_t{8} << 20;
    facts->max_shared_bytes = 1024;
    facts->matrix_policy = "mma";
    return 0;
  }
  Code Allocate(int64_t bytes, void** data) override {
    if (bytes > machine_.memory_bytes) return 2;
    return EmulatedDriver::Allocate(bytes, data);
  }
  Code FreeBytes(int64_t* bytes) override {
    *bytes = machine_.memory_bytes;
    return 0;
  }
  Code LoadModule(const KernelImage& /*image*/, Handle* /*module*/) override { return 200; }
  Code UnloadModule(Handle /*module*/) override { return 0; }
  Code Find(Handle, const std::string&, int64_t, Handle*) override { return 500; }
  Code Launch(Handle, const LaunchShape&, const void*, size_t, Handle) override {
    return machine_.launches_until_lost-- > 0 ? 0 : 999;
  }

 protected:
  Status RunKernel(Handle, const LaunchShape&, const void*, size_t) override { return {}; }

 private:
  Machine machine_;
};

const std::vector<std::string> kBuilt = {"sm_80", "sm_90a"};

Result<std::unique_ptr<GpuDevice>> Open(const Machine& machine, int index = 0,
                                        const std::vector<std::string>& built = kBuilt) {
  return OpenGpu(std::make_unique<FakeDriver>(machine), index, built);
}

std::string Refusal(const Machine& machine, int index = 0,
                    const std::vector<std::string>& built = kBuilt) {
  const auto device = Open(machine, index, built);
  return device.ok() ? "opened" : device.error().message;
}

TEST(OpenGpu, OpensADeviceWithCode) {
  EXPECT_EQ(Refusal({}), "opened");
  EXPECT_EQ(Refusal({}, 1), "opened");
}

TEST(OpenGpu, OldDriverIsRefusedWithBothVersions) {
  EXPECT_THAT(Refusal({.version = {11, 8}}),
              AllOf(HasSubstr("11.8"), HasSubstr("needs 12.4"), HasSubstr("update the driver")));
}

TEST(OpenGpu, DriverThatDoesNotStartIsRefusedWithItsReason) {
  EXPECT_THAT(Refusal({.start_code = 999}),
              AllOf(HasSubstr("does not start"), HasSubstr("fell off the bus")));
}

TEST(OpenGpu, MachineWithoutDevicesIsRefused) {
  EXPECT_THAT(Refusal({.count = 0}), HasSubstr("no device"));
}

TEST(CountGpus, GivesTheDriversCountOrZeroIfItDoesNotStart) {
  for (const int count : {0, 1, 8}) {
    FakeDriver works({.count = count});
    EXPECT_EQ(CountGpus(&works), count);
  }
  FakeDriver broken({.start_code = 999});
  EXPECT_EQ(CountGpus(&broken), 0);
}

TEST(OpenGpu, IndexOutOfRangeIsRefusedWithTheRange) {
  EXPECT_THAT(Refusal({}, 2), AllOf(HasSubstr("cuda:2"), HasSubstr("cuda:0 to cuda:1")));
  EXPECT_THAT(Refusal({.count = 1}, 1), HasSubstr("choose cuda:0"));
}

TEST(OpenGpu, ArchitectureWithoutCodeIsRefusedWithThoseThatHaveCode) {
  EXPECT_THAT(Refusal({.arch = "sm_75"}), AllOf(HasSubstr("sm_75"), HasSubstr("sm_80, sm_90a"),
                                                HasSubstr("TESSERA_DEVICE_ARCHS=sm_75")));
  EXPECT_THAT(Refusal({}, 0, {}), HasSubstr("code for no GPU"));
}

TEST(OpenGpu, RefusedAllocationSaysHowMuchWasFree) {
  const auto device = Open({.memory_bytes = int64_t{3} << 20});
  ASSERT_TRUE(device.ok());
  const auto buffer = (*device)->Allocate(int64_t{5} << 20, MemoryKind::kDevice);
  ASSERT_FALSE(buffer.ok());
  EXPECT_EQ(buffer.error().code, ErrorCode::kOutOfMemory);
  EXPECT_THAT(buffer.error().message,
              AllOf(HasSubstr("5 MiB"), HasSubstr("3 MiB of 8 MiB are free"), HasSubstr("cuda:0")));
  EXPECT_FALSE((*device)->Allocate(-1, MemoryKind::kDevice).ok());
}

TEST(OpenGpu, LostDeviceIsReportedThenAndEverAfter) {
  const auto device = Open({.launches_until_lost = 1});
  ASSERT_TRUE(device.ok());
  auto stream = (*device)->NewStream();
  ASSERT_TRUE(stream.ok());
  auto& gpu = static_cast<GpuStream&>(**stream);
  gpu.Launch(GpuKernel(), {}, 0);
  EXPECT_TRUE(gpu.Synchronize().ok());
  gpu.Launch(GpuKernel(), {}, 0);
  for (int i = 0; i < 2; ++i) {
    const Status status = gpu.Synchronize();
    ASSERT_FALSE(status.ok());
    EXPECT_THAT(status.error().message,
                AllOf(HasSubstr("cuda:0 (NVIDIA Imaginary)"), HasSubstr("launching a kernel"),
                      HasSubstr("fell off the bus")));
  }
  EXPECT_FALSE(gpu.BeginCapture().ok());
  // Another stream that waits for it has not been given what it waits for.
  auto other = (*device)->NewStream();
  (*other)->Wait(gpu);
  EXPECT_FALSE((*other)->Synchronize().ok());
}

TEST(OpenGpu, CodeThatTheDriverRefusesIsReportedWithItsVersion) {
  const auto device = Open({});
  ASSERT_TRUE(device.ok());
  const KernelImage image{.arch = "sm_90a"};
  const auto module = (*device)->Load({&image, 1});
  ASSERT_FALSE(module.ok());
  EXPECT_THAT(module.error().message, AllOf(HasSubstr("driver 13.0"), HasSubstr("sm_90a")));
}

TEST(OpenGpu, MissingLibraryAndOldLibraryAreReported) {
  const auto library = DriverLibrary::Load({"libtessera_no_such_driver.so.1"});
  ASSERT_FALSE(library.ok());
  EXPECT_THAT(library.error().message,
              AllOf(HasSubstr("not installed"), HasSubstr("libtessera_no_such_driver.so.1")));
  auto other = DriverLibrary::Load({"libtessera_no_such_driver.so.1", "libc.so.6"});
  ASSERT_TRUE(other.ok());
  void (*function)() = nullptr;
  other->Get("abort", &function);
  EXPECT_TRUE(other->Complete().ok());
  EXPECT_NE(function, nullptr);
  other->Get("cuInventedToday", &function);
  ASSERT_FALSE(other->Complete().ok());
  EXPECT_THAT(other->Complete().error().message, HasSubstr("cuInventedToday"));
}

TEST(RunsCode, AsTheMakersPromise) {
  EXPECT_TRUE(RunsCode("sm_90", "sm_90a"));
  EXPECT_TRUE(RunsCode("sm_86", "sm_80"));
  EXPECT_TRUE(RunsCode("gfx942", "gfx942"));
  EXPECT_FALSE(RunsCode("sm_80", "sm_86"));
  EXPECT_FALSE(RunsCode("sm_90", "sm_80"));
  EXPECT_FALSE(RunsCode("sm_103", "sm_100a"));
  EXPECT_FALSE(RunsCode("sm_100", "sm_90a"));
  EXPECT_FALSE(RunsCode("gfx90a", "gfx942"));
}

TEST(OpenDevice, AutoSaysWhatItTookAndWhyNoOther) {
  std::string why;
  const auto device = OpenDevice("auto", &why);
  ASSERT_TRUE(device.ok());
  if ((*device)->info().kind == DeviceKind::kCpu) {
    EXPECT_THAT(why, AllOf(HasSubstr("cpu"), HasSubstr("cuda"), HasSubstr("hip")));
  } else {
    EXPECT_THAT(why, HasSubstr((*device)->info().name));
  }
  for (const char* name : {"cuda:x", "cuda:-1", "cpu:1", "fenced:0"}) {
    const auto refused = OpenDevice(name);
    ASSERT_FALSE(refused.ok()) << name;
    EXPECT_THAT(refused.error().message, HasSubstr(name));
  }
}

}  // namespace
}  // namespace tessera
