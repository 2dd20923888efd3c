// rocm-emulated: what breaks a rule of the machine, and code objects that are damaged.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "device/gpu/gfx942/launcher.h"
#include "device/gpu/gfx942/module.h"
#include "device/gpu/gfx942/packed_listing.h"
#include "device/gpu/rocm_emulated_device.h"
#include "device/gpu/testing/test_kernels.h"

namespace tessera {

std::span<const KernelImage> TestImages();

namespace {

using testing::AddArgs;
using ::testing::HasSubstr;
using testing::kReverseThreads;
using testing::ReverseArgs;

const KernelImage& Image() {
  for (const KernelImage& image : TestImages()) {
    if (std::string(image.arch) == "gfx942") return image;
  }
  TESSERA_CHECK(false, "the test is built only with gfx942");
  return TestImages().front();
}

std::string Listing() { return gfx942::UnpackListing(Image().listing).value(); }

TEST(PackedListing, BrokenOnesAreRefused) {
  const std::string good(Image().listing);
  EXPECT_LT(4 * good.size(), Listing().size());
  std::string longer = good, shorter = good, changed = good;
  ++longer[0];
  --shorter[0];
  changed[good.size() / 2] ^= 1;
  for (const std::string& bad : {std::string(), good.substr(0, 7), good.substr(0, good.size() / 2),
                                 longer, shorter, changed, std::string(20, '\xff')}) {
    EXPECT_FALSE(gfx942::UnpackListing(bad).ok());
  }
}

TEST(RocmEmulatedDevice, KernelThatLeavesItsBufferIsAnErrorThatStays) {
  auto device = OpenRocmEmulatedDevice();
  ASSERT_TRUE(device.ok()) << device.error().message;
  EXPECT_EQ((*device)->info().arch, "gfx942");
  auto opened = (*device)->NewStream();
  auto module = (*device)->Load(TestImages());
  auto buffer = (*device)->Allocate(64 * 4, MemoryKind::kDevice);
  ASSERT_TRUE(opened.ok() && module.ok() && buffer.ok());
  auto& stream = static_cast<GpuStream&>(**opened);
  stream.Fill(buffer->data(), 0, buffer->bytes());
  const GpuKernel add = (*module)->Find("add", 0).value();
  stream.Launch(add, {.blocks = 1, .threads = 64, .wave = 64},
                AddArgs{buffer->As<int32_t>(), 64, 1});
  EXPECT_TRUE(stream.Synchronize().ok());
  stream.Launch(add, {.blocks = 2, .threads = 64, .wave = 64},
                AddArgs{buffer->As<int32_t>(), 65, 1});
  for (int i = 0; i < 2; ++i) {
    const Status status = stream.Synchronize();
    ASSERT_FALSE(status.ok());
    EXPECT_THAT(status.error().message, HasSubstr("kernel 'add' failed"));
    EXPECT_THAT(status.error().message, HasSubstr("outside of every buffer"));
    EXPECT_THAT(status.error().message, HasSubstr("wave 0 of workgroup 1"));
  }
}

TEST(RocmEmulatedDevice, RefusesLaunchesThatDoNotFitTheKernel) {
  ThreadPool pool({.num_threads = 1});
  gfx942::Launcher launcher(&pool);
  auto module = gfx942::Module::Load(Image().code, Listing());
  ASSERT_TRUE(module.ok()) << module.error().message;
  EXPECT_THAT((*module)->KernelNames(),
              ::testing::UnorderedElementsAre("add", "diverge", "reverse"));
  EXPECT_FALSE((*module)->Find("no_such_kernel").ok());
  const gfx942::Kernel* const reverse = (*module)->Find("reverse").value();
  const ReverseArgs args{nullptr};
  const std::span<const unsigned char> bytes(reinterpret_cast<const unsigned char*>(&args),
                                             sizeof(args));
  const auto problem = [&](const gfx942::KernelLaunch& launch) {
    const Status status = launcher.Run(launch);
    return status.ok() ? "" : status.error().message;
  };
  EXPECT_THAT(problem({.kernel = reverse, .threads = 64}), HasSubstr("bytes of arguments"));
  EXPECT_THAT(problem({.kernel = reverse, .threads = 2048, .arguments = bytes}),
              HasSubstr("2048 threads"));
  EXPECT_THAT(problem({.kernel = reverse, .threads = 64, .lds_bytes = 65536, .arguments = bytes}),
              HasSubstr("bytes of LDS"));
  EXPECT_THAT(problem({.kernel = reverse, .threads = kReverseThreads, .arguments = bytes}),
              HasSubstr("outside of every buffer"));
}

TEST(RocmEmulatedDevice, FewerThreadsThanTheKernelWantsReadLdsThatNobodyWrote) {
  ThreadPool pool({.num_threads = 1});
  gfx942::Launcher launcher(&pool);
  auto module = gfx942::Module::Load(Image().code, Listing()).value();
  std::vector<int32_t> values(kReverseThreads);
  const ReverseArgs args{values.data()};
  const auto begin = reinterpret_cast<uint64_t>(values.data());
  const Status status =
      launcher.Run({.kernel = module->Find("reverse").value(),
                    .threads = 64,
                    .arguments = {reinterpret_cast<const unsigned char*>(&args), sizeof(args)},
                    .memory = {{begin, begin + values.size() * 4}}});
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("LDS that nobody has written"));
}

TEST(CodeObject, DamagedBytesAreRefusedOrHarmless) {
  const std::vector<unsigned char> good(Image().code.begin(), Image().code.end());
  ASSERT_TRUE(gfx942::CodeObject::Read(good).ok());
  for (size_t size : {size_t{0}, size_t{3}, size_t{63}, size_t{64}, size_t{500}, good.size() / 2}) {
    EXPECT_FALSE(gfx942::CodeObject::Read(std::span(good).first(size)).ok()) << size;
  }
  std::mt19937 random(1);
  for (int round = 0; round < 1000; ++round) {
    std::vector<unsigned char> bad = good;
    // Headers matter most.
    for (int n = 0; n < 3; ++n)
      bad[random() % (round % 2 == 0 ? 600 : bad.size())] = static_cast<unsigned char>(random());
    auto module = gfx942::Module::Load(bad, Listing());
    if (!module.ok()) continue;
    for (const char* name : {"add", "reverse"}) {
      const auto kernel = (*module)->Find(name);
      EXPECT_TRUE(kernel.ok() || !kernel.error().message.empty());
    }
  }
}

TEST(CodeObject, ListingOfAnotherObjectIsRefused) {
  auto empty = gfx942::Module::Load(Image().code, "no listing at all\n");
  ASSERT_FALSE(empty.ok());
  EXPECT_THAT(empty.error().message, HasSubstr("llvm-objdump"));
  std::string moved = Listing();
  const size_t at = moved.find(" <add>:");
  ASSERT_NE(at, std::string::npos);
  moved[at - 3] = moved[at - 3] == '0' ? '1' : '0';
  auto module = gfx942::Module::Load(Image().code, moved);
  ASSERT_TRUE(module.ok());
  EXPECT_FALSE((*module)->Find("add").ok());
}

}  // namespace
}  // namespace tessera
