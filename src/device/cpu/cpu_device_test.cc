#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "tessera/device.h"

namespace tessera {
namespace {

class CpuDevices : public ::testing::TestWithParam<const char*> {};

TEST_P(CpuDevices, CopiesInBothDirections) {
  const auto device = OpenDevice(GetParam());
  ASSERT_TRUE(device.ok());
  auto stream = (*device)->NewStream();
  ASSERT_TRUE(stream.ok());
  for (const int64_t bytes : {int64_t{0}, int64_t{1}, int64_t{4097}, int64_t{5} << 20}) {
    auto first = (*device)->Allocate(bytes, MemoryKind::kDevice);
    auto second = (*device)->Allocate(bytes, MemoryKind::kDevice);
    ASSERT_TRUE(first.ok() && second.ok());
    EXPECT_EQ(first->bytes(), bytes);
    std::vector<uint8_t> sent(static_cast<size_t>(bytes), 7), received(sent.size());
    (*stream)->Copy(first->data(), sent.data(), bytes);
    (*stream)->Copy(second->data(), first->data(), bytes);
    (*stream)->Copy(received.data(), second->data(), bytes);
    EXPECT_TRUE((*stream)->Synchronize().ok());
    EXPECT_EQ(received, sent);
    (*stream)->Fill(second->data(), 9, bytes);
    (*stream)->Copy(received.data(), second->data(), bytes);
    EXPECT_EQ(received, std::vector<uint8_t>(sent.size(), 9));
  }
}

TEST_P(CpuDevices, MemoryIsZeroAndOpenUnderHostAccess) {
  const auto device = OpenDevice(GetParam());
  ASSERT_TRUE(device.ok());
  auto stream = (*device)->NewStream();
  auto buffer = (*device)->Allocate(100, MemoryKind::kDevice);
  ASSERT_TRUE(stream.ok() && buffer.ok());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 64, 0u);
  const HostAccess outer(**stream);
  {
    const HostAccess inner(**stream);
    buffer->As<char>()[99] = 1;
  }
  EXPECT_EQ(buffer->As<char>()[0], 0);
  EXPECT_EQ(buffer->As<char>()[99], 1);
}

TEST_P(CpuDevices, RecordsNoGraphs) {
  const auto device = OpenDevice(GetParam());
  ASSERT_TRUE(device.ok());
  auto stream = (*device)->NewStream();
  EXPECT_FALSE((*stream)->BeginCapture().ok());
}

INSTANTIATE_TEST_SUITE_P(Both, CpuDevices, ::testing::Values("cpu", "fenced"));

TEST(FencedDeviceDeathTest, ReadAndWriteWithoutHostAccessEndTheProgram) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto device = CreateFencedDevice();
  auto stream = device->NewStream();
  auto buffer = device->Allocate(100, MemoryKind::kDevice);
  ASSERT_TRUE(stream.ok() && buffer.ok());
  volatile char* const data = buffer->As<char>();
  EXPECT_DEATH(data[0] = 1, "");
  { const HostAccess access(**stream); }
  EXPECT_DEATH((void)data[99], "");
  auto pinned = device->Allocate(100, MemoryKind::kPinnedHost);
  ASSERT_TRUE(pinned.ok());
  pinned->As<char>()[0] = 1;
}

TEST(OpenDevice, RefusesUnknownNameWithTheKnownOnes) {
  const auto device = OpenDevice("abacus");
  ASSERT_FALSE(device.ok());
  EXPECT_NE(device.error().message.find("abacus"), std::string::npos);
  EXPECT_NE(device.error().message.find("cpu"), std::string::npos);
}

}  // namespace
}  // namespace tessera
