#include "device/cpu/cpu_features.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::IsSupersetOf;

constexpr uint64_t kSseOnly = 0x3;
constexpr uint64_t kAvx = 0x7;
constexpr uint64_t kAvx512 = 0xe7;
constexpr uint64_t kAll = 0x602e7;

// A CPU that has everything; what remains is what the operating system saves.
X86Registers Everything(uint64_t xcr0) {
  const uint32_t all = 0xffffffffu;
  return {.leaf1_ecx = all,
          .leaf7_ebx = all,
          .leaf7_ecx = all,
          .leaf7_edx = all,
          .leaf7_subleaf1_eax = all,
          .xcr0 = xcr0};
}

TEST(X86Features, NeedTheOperatingSystem) {
  EXPECT_THAT(X86Features(Everything(0)), IsEmpty());
  EXPECT_THAT(X86Features(Everything(kSseOnly)), IsEmpty());
  EXPECT_THAT(X86Features(Everything(kAvx)), ElementsAre("fma", "f16c", "avx2", "avx_vnni"));
  EXPECT_THAT(X86Features(Everything(kAvx512)),
              ElementsAre("fma", "f16c", "avx2", "avx_vnni", "avx512f", "avx512dq", "avx512bw",
                          "avx512vl", "avx512_vbmi", "avx512_vnni", "avx512_bf16", "avx512_fp16"));
  EXPECT_THAT(X86Features(Everything(kAll)),
              IsSupersetOf({"avx512f", "amx_tile", "amx_bf16", "amx_int8", "amx_fp16"}));
  // Half of the tile state or of the AVX-512 state is none of it.
  EXPECT_EQ(X86Features(Everything(0x202e7)), X86Features(Everything(kAvx512)));
  EXPECT_EQ(X86Features(Everything(0x67)), X86Features(Everything(kAvx)));
}

TEST(X86Features, NeedTheCpu) {
  EXPECT_THAT(X86Features({.xcr0 = kAll}), IsEmpty());
  // Each register alone, with the features that the others depend on.
  EXPECT_THAT(X86Features({.leaf1_ecx = (1u << 28) | (1u << 12), .xcr0 = kAll}),
              ElementsAre("fma"));
  EXPECT_THAT(X86Features({.leaf1_ecx = 1u << 28, .leaf7_ebx = 1u << 5, .xcr0 = kAll}),
              ElementsAre("avx2"));
  EXPECT_THAT(X86Features({.leaf7_ebx = 1u << 16, .leaf7_subleaf1_eax = 1u << 5, .xcr0 = kAll}),
              ElementsAre("avx512f", "avx512_bf16"));
  EXPECT_THAT(X86Features({.leaf7_edx = (1u << 24) | (1u << 22), .xcr0 = kAll}),
              ElementsAre("amx_tile", "amx_bf16"));
  // Extensions without their foundation are a hypervisor's mistake and not used.
  EXPECT_THAT(X86Features({.leaf7_edx = 1u << 22, .leaf7_subleaf1_eax = 1u << 5, .xcr0 = kAll}),
              IsEmpty());
}

TEST(ArmFeatures, ByBit) {
  EXPECT_THAT(ArmFeatures(0, 0), IsEmpty());
  EXPECT_THAT(ArmFeatures(1u << 1, 0), ElementsAre("asimd"));
  EXPECT_THAT(ArmFeatures((1u << 1) | (1u << 22), (1u << 1) | (1u << 13) | (1u << 14)),
              ElementsAre("asimd", "sve", "sve2", "i8mm", "bf16"));
  EXPECT_EQ(ArmFeatures(~uint64_t{0}, ~uint64_t{0}).size(), 11u);
}

}  // namespace
}  // namespace tessera
