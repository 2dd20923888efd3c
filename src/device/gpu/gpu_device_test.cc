// What GpuDevice promises, on the lock-step emulator; with TESSERA_TEST_DEVICE (a name that
// OpenDevice() takes) on that device instead.
#include "device/gpu/gpu_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <numeric>
#include <vector>

#include "device/gpu/simt_device.h"
#include "device/gpu/testing/test_kernels.h"

namespace tessera {

std::span<const KernelImage> TestImages();

namespace {

using testing::AddArgs;
using ::testing::Each;
using ::testing::HasSubstr;
using testing::kReverseThreads;
using testing::ReverseArgs;

class GpuDeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* const name = std::getenv("TESSERA_TEST_DEVICE");
    auto opened = OpenDevice(name != nullptr ? name : "simt-emulated");
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    device_ = std::move(opened).value();
    ASSERT_TRUE(IsGpu(*device_));
    auto module = gpu().Load(TestImages());
    ASSERT_TRUE(module.ok()) << module.error().message;
    module_ = std::move(module).value();
    stream_ = NewStream();
    add_ = module_->Find("add", 0).value();
  }

  GpuDevice& gpu() { return static_cast<GpuDevice&>(*device_); }
  std::unique_ptr<GpuStream> NewStream() {
    return std::unique_ptr<GpuStream>(
        static_cast<GpuStream*>(std::move(device_->NewStream()).value().release()));
  }
  Buffer Allocate(int64_t bytes, MemoryKind kind = MemoryKind::kDevice) {
    auto buffer = device_->Allocate(bytes, kind);
    EXPECT_TRUE(buffer.ok()) << buffer.error().message;
    return std::move(buffer).value();
  }
  void Add(GpuStream& stream, const Buffer& buffer, int32_t addend) {
    const int64_t count = buffer.bytes() / 4;
    stream.Launch(add_, {.blocks = (count + 63) / 64, .threads = 64, .wave = 64},
                  AddArgs{buffer.As<int32_t>(), count, addend});
  }
  std::vector<int32_t> Read(const Buffer& buffer) {
    std::vector<int32_t> values(static_cast<size_t>(buffer.bytes() / 4));
    stream_->Copy(values.data(), buffer.data(), buffer.bytes());
    const Status status = stream_->Synchronize();
    EXPECT_TRUE(status.ok()) << status.error().message;
    return values;
  }

  std::unique_ptr<Device> device_;
  std::unique_ptr<GpuModule> module_;
  std::unique_ptr<GpuStream> stream_;
  GpuKernel add_;
};

TEST_F(GpuDeviceTest, LaunchesAfterCopiesInOrder) {
  const Buffer buffer = Allocate(1000 * 4);
  std::vector<int32_t> values(1000, 5);
  stream_->Copy(buffer.data(), values.data(), buffer.bytes());
  std::fill(values.begin(), values.end(), -1);  // may be reused at once: it is not pinned
  Add(*stream_, buffer, 2);
  EXPECT_THAT(Read(buffer), Each(7));
  stream_->Fill(buffer.data(), 0, buffer.bytes());
  Add(*stream_, buffer, 3);
  EXPECT_THAT(Read(buffer), Each(3));
}

TEST_F(GpuDeviceTest, CopiesOfManyMebibytesFromUnpinnedMemoryMayBeReusedAtOnce) {
  const Buffer buffer = Allocate((int64_t{9} << 20) + 4);
  std::vector<int32_t> values(static_cast<size_t>(buffer.bytes() / 4));
  std::iota(values.begin(), values.end(), 0);
  const std::vector<int32_t> sent = values;
  stream_->Copy(buffer.data(), values.data(), buffer.bytes());
  std::fill(values.begin(), values.end(), -1);
  EXPECT_EQ(Read(buffer), sent);
}

TEST_F(GpuDeviceTest, BlocksHaveSharedMemoryAndBarriers) {
  const Buffer buffer = Allocate(3 * kReverseThreads * 4);
  std::vector<int32_t> values(3 * kReverseThreads), want(values.size());
  std::iota(values.begin(), values.end(), 0);
  for (size_t i = 0; i < values.size(); ++i) {
    want[i] = static_cast<int32_t>(i / kReverseThreads * kReverseThreads + kReverseThreads - 1 -
                                   i % kReverseThreads);
  }
  auto reverse = module_->Find("reverse", kReverseThreads * 4);
  ASSERT_TRUE(reverse.ok()) << reverse.error().message;
  stream_->Copy(buffer.data(), values.data(), buffer.bytes());
  stream_->Launch(
      *reverse,
      {.blocks = 3, .threads = kReverseThreads, .wave = 64, .shared_bytes = kReverseThreads * 4},
      ReverseArgs{buffer.As<int32_t>()});
  EXPECT_EQ(Read(buffer), want);
}

TEST_F(GpuDeviceTest, GraphReplaysWithOtherContents) {
  const Buffer buffer = Allocate(64 * 4), pinned = Allocate(64 * 4, MemoryKind::kPinnedHost);
  ASSERT_TRUE(stream_->BeginCapture().ok());
  stream_->Copy(buffer.data(), pinned.data(), buffer.bytes());
  Add(*stream_, buffer, 1);
  Add(*stream_, buffer, 10);
  auto graph = stream_->EndCapture();
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  for (int32_t value : {100, 200}) {
    std::fill_n(pinned.As<int32_t>(), 64, value);
    stream_->Launch(**graph);
    EXPECT_THAT(Read(buffer), Each(value + 11));
  }
}

TEST_F(GpuDeviceTest, RecordingACopyFromUnpinnedMemoryIsAnErrorThatStays) {
  const Buffer buffer = Allocate(64 * 4);
  const std::vector<int32_t> values(64, 1);
  ASSERT_TRUE(stream_->BeginCapture().ok());
  stream_->Copy(buffer.data(), values.data(), buffer.bytes());
  EXPECT_FALSE(stream_->EndCapture().ok());
  ASSERT_FALSE(stream_->Synchronize().ok());
  EXPECT_THAT(stream_->Synchronize().error().message, HasSubstr("between buffers"));
}

TEST_F(GpuDeviceTest, StreamsWaitForOneAnother) {
  const Buffer buffer = Allocate(4096 * 4);
  const auto other = NewStream();
  stream_->Fill(buffer.data(), 0, buffer.bytes());
  for (int i = 0; i < 5; ++i) {
    Add(*stream_, buffer, 1);
    other->Wait(*stream_);
    Add(*other, buffer, 10);
    stream_->Wait(*other);
  }
  EXPECT_THAT(Read(buffer), Each(55));
}

TEST_F(GpuDeviceTest, RefusesWhatAModuleLacks) {
  auto kernel = module_->Find("no_such_kernel", 0);
  ASSERT_FALSE(kernel.ok());
  EXPECT_THAT(kernel.error().message, HasSubstr("no_such_kernel"));
  kernel = module_->Find("add", int64_t{1} << 20);
  ASSERT_FALSE(kernel.ok());
  EXPECT_THAT(kernel.error().message, HasSubstr("shared memory"));
  auto module = gpu().Load({});
  ASSERT_FALSE(module.ok());
  EXPECT_THAT(module.error().message, HasSubstr("TESSERA_DEVICE_ARCHS"));
}

TEST_F(GpuDeviceTest, EmptyWorkIsFine) {
  const Buffer empty = Allocate(0);
  EXPECT_EQ(empty.bytes(), 0);
  stream_->Copy(nullptr, nullptr, 0);
  stream_->Fill(nullptr, 1, 0);
  Add(*stream_, empty, 1);
  EXPECT_TRUE(stream_->Synchronize().ok());
  EXPECT_GT(device_->free_bytes(), 0);
  EXPECT_GT(device_->info().num_units, 0);
}

TEST(SimtDevice, PinnedMemoryThatIsWrittenTooEarlyShows) {
  auto device = OpenSimtDevice();
  ASSERT_TRUE(device.ok());
  auto stream = (*device)->NewStream();
  auto pinned = (*device)->Allocate(4, MemoryKind::kPinnedHost);
  auto buffer = (*device)->Allocate(4, MemoryKind::kDevice);
  ASSERT_TRUE(stream.ok() && pinned.ok() && buffer.ok());
  *pinned->As<int32_t>() = 1;
  (*stream)->Copy(buffer->data(), pinned->data(), 4);
  *pinned->As<int32_t>() = 2;  // without waiting
  int32_t got = 0;
  (*stream)->Copy(&got, buffer->data(), 4);
  EXPECT_EQ(got, 0);
  ASSERT_TRUE((*stream)->Synchronize().ok());
  EXPECT_EQ(got, 2);
}

TEST(SimtDevice, BrokenKernelIsAnErrorThatStays) {
  auto device = OpenSimtDevice();
  ASSERT_TRUE(device.ok());
  auto opened = (*device)->NewStream();
  auto module = (*device)->Load(TestImages());
  auto buffer = (*device)->Allocate(kReverseThreads * 4, MemoryKind::kDevice);
  ASSERT_TRUE(opened.ok() && module.ok() && buffer.ok());
  auto& stream = static_cast<GpuStream&>(**opened);
  stream.Launch((*module)->Find("diverge", 0).value(), {.threads = kReverseThreads},
                ReverseArgs{buffer->As<int32_t>()});
  for (int i = 0; i < 2; ++i) {
    const Status status = stream.Synchronize();
    ASSERT_FALSE(status.ok());
    EXPECT_THAT(status.error().message, HasSubstr("diverge: a barrier is reached by 127 of 128"));
  }
}

TEST(SimtDeviceDeathTest, HostThatFollowsDeviceMemoryEndsTheProgram) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  auto device = OpenSimtDevice();
  auto buffer = (*device)->Allocate(4, MemoryKind::kDevice);
  ASSERT_TRUE(buffer.ok());
  volatile int32_t* const value = buffer->As<int32_t>();
  EXPECT_DEATH(*value = 1, "");
}

TEST(SimtDevice, HasThePoliciesOfMatrixInstructions) {
  for (const char* policy : {"mma", "mfma", "wmma", "wmma11"}) {
    auto device = OpenDevice(std::string("simt-emulated:") + policy);
    ASSERT_TRUE(device.ok());
    EXPECT_EQ(static_cast<GpuDevice&>(**device).matrix_policy(), policy);
    EXPECT_EQ((*device)->info().kind, DeviceKind::kSimt);
  }
  EXPECT_FALSE(OpenDevice("simt-emulated:abacus").ok());
}

}  // namespace
}  // namespace tessera
