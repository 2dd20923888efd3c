#include "attention/kernel/emulator/simt_emulator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "attention/backends/portable/emulated_backend.h"
#include "attention/kernel/emulator/dropped_barrier.h"
#include "attention/kernel/gpu/lane_elements.h"
#include "attention/kernel/gpu/tiles_simt.h"
#include "attention/planned_work.h"
#include "attention/testing/attention_case.h"

namespace tessera {
namespace {

namespace emulator = simt::emulator;

TEST(Emulator, EveryThreadOfEveryBlockRunsOnce) {
  for (unsigned seed : {0u, 1u, 2u}) {
    std::vector<int> count(3 * 128, 0);
    emulator::Launch({.blocks = 3, .threads = 128, .wave = 32, .seed = seed}, [&] {
      ++count[static_cast<size_t>(emulator::Block() * 128 + emulator::Thread())];
    });
    EXPECT_THAT(count, ::testing::Each(1));
  }
}

TEST(Emulator, ShuffleExchangesWithinTheWave) {
  std::vector<float> got(128);
  emulator::Launch({.blocks = 1, .threads = 128, .wave = 64, .seed = 3}, [&] {
    const int t = emulator::Thread();
    got[static_cast<size_t>(t)] = emulator::ShuffleXor(static_cast<float>(t), 32, 64);
  });
  for (int t = 0; t < 128; ++t) EXPECT_EQ(got[static_cast<size_t>(t)], static_cast<float>(t ^ 32));
}

TEST(Emulator, BarrierOrdersMemoryOfTheBlock) {
  std::vector<int> shared(64, 0);
  emulator::Launch({.blocks = 2, .threads = 64, .wave = 32, .seed = 5}, [&] {
    const size_t t = static_cast<size_t>(emulator::Thread());
    shared[t] = static_cast<int>(t) + 1;
    emulator::Barrier();
    EXPECT_EQ(shared[63 - t], 64 - static_cast<int>(t));
    emulator::Barrier();
    shared[t] = 0;
  });
}

TEST(Emulator, DivergentBarrierIsAnError) {
  EXPECT_THROW(emulator::Launch({.blocks = 1, .threads = 64, .wave = 32},
                                [] {
                                  if (emulator::Thread() == 0) return;
                                  emulator::Barrier();
                                }),
               emulator::EmulationError);
  EXPECT_THROW(emulator::Launch({.blocks = 1, .threads = 32, .wave = 32},
                                [] {
                                  if (emulator::Thread() % 2 == 0)
                                    emulator::ShuffleXor(1.0f, 1, 32);
                                }),
               emulator::EmulationError);
}

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
  ExpectProduct<kernel::MmaM16N8K16, DType::kFloat16>();
  ExpectProduct<kernel::Mfma32x32x8, DType::kFloat16>();
  ExpectProduct<kernel::Mfma16x16x16, DType::kFloat16>();
  ExpectProduct<kernel::Wmma16x16x16, DType::kFloat16>();
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

// The deliberately broken kernel must not pass: the emulator's permuted order makes its race
// visible.
class BrokenBackend : public Backend {
 public:
  explicit BrokenBackend(std::unique_ptr<Backend> good) : good_(std::move(good)) {}
  std::string Name() const override { return "broken"; }
  Support Probe(const DeviceInfo& device) const override { return good_->Probe(device); }
  Support Supports(const AttentionSpec& spec, int32_t block_size) const override {
    return good_->Supports(spec, block_size);
  }
  std::unique_ptr<AttentionPlan> Plan(const AttentionSpec& spec, const AttentionBatch& batch,
                                      std::unique_ptr<AttentionPlan>) override {
    return PlanStep(spec, batch, {.workers = 1, .max_rows = 32, .key_step = 32}, nullptr);
  }
  void WriteKv(const AttentionSpec& spec, const AttentionBatch& batch, const WriteKvArgs& args,
               const KvCache& cache) override {
    good_->WriteKv(spec, batch, args, cache);
  }
  void Run(const AttentionPlan& plan, const AttentionSpec& spec, const AttentionBatch& batch,
           const KvCache& cache, const RunArgs& run_args) override {
    auto& work = const_cast<PlannedWork&>(static_cast<const PlannedWork&>(plan));
    const kernel::KernelArgs args = MakeKernelArgs(spec, batch, cache, run_args, &work);
    simt::emulator::Launch(
        {.blocks = static_cast<int>(work.work.items.size()), .threads = 64, .wave = 32, .seed = 1},
        [&] { kernel::RunBlockWithoutBarrier(args, work.work.items.data()); });
  }
  void CopyBlocks(const AttentionSpec&, const KvCache&, const std::vector<BlockPair>&) override {}
  void SwapBlocks(const AttentionSpec&, const KvCache&, const KvCache&,
                  const std::vector<BlockPair>&) override {}

 private:
  std::unique_ptr<Backend> good_;
};

TEST(Emulator, NoticesADroppedBarrier) {
  ThreadPool pool({.num_threads = 1});
  const BackendContext context{DetectCpu(), &pool};
  testing::CaseOptions options{.spec = {.num_heads = 2, .num_kv_heads = 1, .head_size = 64},
                               .sequences = {{40, 200}}};
  options.spec.output_dtype = DType::kFloat32;
  testing::AttentionCase problem(options);
  auto good = CreateEmulatedBackend(context, "mma_m16n8k16", 1);
  EXPECT_LE(problem.Check(good.get(), 8e-3, 0).output, 1.0);
  BrokenBackend broken(std::move(good));
  const auto errors = problem.Check(&broken, 8e-3, 0);
  EXPECT_FALSE(errors.problem.empty() && errors.output <= 1.0);
}

}  // namespace
}  // namespace tessera
