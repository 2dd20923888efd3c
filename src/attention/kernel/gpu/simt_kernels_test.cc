#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "attention/kernel/gpu/lane_elements.h"
#include "attention/kernel/gpu/tiles_simt.h"
#include "device/gpu/emulator/simt_emulator.h"

namespace tessera {
namespace {

namespace emulator = simt::emulator;

// Every instruction multiplies as its definition says, through the policy's coordinates.
template <class P, DType kType>
void ExpectProduct() {
  using kernel::lanes::PackPair;
  float x[32][16], y[32][16];
  for (int i = 0; i < 32; ++i) {
    for (int k = 0; k < 16; ++k) {
      x[i][k] = static_cast<float>((i * 7 + k * 3) % 11 - 5);
      y[i][k] = static_cast<float>((i * 5 + k) % 9 - 4);
    }
  }
  float got[32][32] = {};
  emulator::Launch({.blocks = 1, .threads = P::WAVE, .wave = P::WAVE, .seed = 1}, [&] {
    const int lane = emulator::Thread();
    kernel::Fragment<P::NX> a;
    kernel::Fragment<P::NY> b;
    kernel::Accumulator<P::NE> c;
    for (int i = 0; i < 2 * P::NX; i += 2) {
      a.words[i / 2] = PackPair<kType>(x[P::x(lane, i)][P::xk(lane, i)],
                                       x[P::x(lane, i + 1)][P::xk(lane, i + 1)]);
    }
    for (int i = 0; i < 2 * P::NY; i += 2) {
      b.words[i / 2] = PackPair<kType>(y[P::y(lane, i)][P::yk(lane, i)],
                                       y[P::y(lane, i + 1)][P::yk(lane, i + 1)]);
    }
    for (int e = 0; e < P::NE; ++e) c.v[e] = 1000.0f;
    P::template MultiplyAdd<kType>(a, b, c);
    for (int e = 0; e < P::NE; ++e) got[P::cx(lane, e)][P::cy(lane, e)] = c.v[e];
  });
  for (int i = 0; i < P::X; ++i) {
    for (int j = 0; j < P::Y; ++j) {
      float want = 1000.0f;
      for (int k = 0; k < P::K; ++k) want += x[i][k] * y[j][k];
      EXPECT_EQ(got[i][j], want) << P::kName << " " << i << " " << j;
    }
  }
}

TEST(MatrixPolicies, MultiplyAsDefined) {
  ExpectProduct<kernel::MmaM16N8K16, DType::kBFloat16>();
  ExpectProduct<kernel::Mfma32x32x8, DType::kBFloat16>();
  ExpectProduct<kernel::Mfma16x16x16, DType::kBFloat16>();
  ExpectProduct<kernel::Wmma16x16x16, DType::kBFloat16>();
  ExpectProduct<kernel::WmmaReplicated, DType::kBFloat16>();
  ExpectProduct<kernel::MmaM16N8K16, DType::kFloat16>();
  ExpectProduct<kernel::Mfma32x32x8, DType::kFloat16>();
  ExpectProduct<kernel::Mfma16x16x16, DType::kFloat16>();
  ExpectProduct<kernel::Wmma16x16x16, DType::kFloat16>();
  ExpectProduct<kernel::WmmaReplicated, DType::kFloat16>();
}

template <DType kType>
void ExpectWidened() {
  for (uint32_t code = 0; code < 256; ++code) {
    // Beside others, so that nothing spills from one to the next.
    const uint32_t others = 0xff80ff7fu;
    for (int place = 0; place < 4; ++place) {
      const uint32_t bytes = (others & ~(0xffu << (8 * place))) | code << (8 * place);
      const kernel::lanes::TwoPairs pairs = kernel::lanes::WidenBytes<kType>(bytes);
      const uint32_t pair = place < 2 ? pairs.low : pairs.high;
      const float got = BFloat16ToFloat(static_cast<uint16_t>(pair >> (16 * (place % 2))));
      const auto byte = static_cast<uint8_t>(code);
      const float want = LoadAsFloat(kType, &byte, 0);
      if (std::isnan(want)) {
        EXPECT_TRUE(std::isnan(got)) << ToString(kType) << " " << code << " at " << place;
      } else {
        EXPECT_EQ(got, want) << ToString(kType) << " " << code << " at " << place;
        EXPECT_EQ(std::signbit(got), std::signbit(want));
      }
    }
  }
}

TEST(LaneElements, EveryCodeOf8BitsIsWidenedExactly) {
  ExpectWidened<DType::kE4M3FN>();
  ExpectWidened<DType::kE4M3FNUZ>();
  ExpectWidened<DType::kE5M2>();
  ExpectWidened<DType::kInt8>();
}

// Every sign, exponent and upper half of a mantissa, with lower halves on and about the ties.
TEST(LaneElements, NarrowsAsTheHostDoes) {
  for (DType type :
       {DType::kFloat16, DType::kBFloat16, DType::kE4M3FN, DType::kE4M3FNUZ, DType::kE5M2}) {
    int64_t wrong = 0;
    for (uint32_t upper = 0; upper < 0x10000; ++upper) {
      for (uint32_t lower : {0u, 1u, 0x0fffu, 0x1000u, 0x1001u, 0x7fffu, 0x8000u, 0x8001u}) {
        const float value = simt::FromBits(upper << 16 | lower);
        uint32_t got = 0, want = 0;
        kernel::lanes::StoreElement(type, &got, 0, value);
        StoreFromFloat(type, &want, 0, value);
        wrong += got != want;
      }
    }
    EXPECT_EQ(wrong, 0) << ToString(type);
  }
}

}  // namespace
}  // namespace tessera
