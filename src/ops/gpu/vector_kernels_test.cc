#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "ops/gpu/kernels/norm.h"
#include "ops/gpu/kernels/qk_norm_rope.h"
#include "ops/gpu/kernels/rows.h"
#include "ops/gpu/testing.h"

namespace tessera::ops_gpu {
namespace {

uint16_t* Data16(HostMatrix& m) { return static_cast<uint16_t*>(m.data()); }

void ExpectClose(float got, float want, const char* what, int64_t row, int64_t col) {
  ASSERT_NEAR(got, want, 1e-6 + 0.008 * std::abs(want)) << what << " " << row << " " << col;
}

template <int kWave>
void RunNorm(const NormKernelArgs& args, bool wave_a_row) {
  if (wave_a_row) {
    Emulate(CeilDiv(args.rows, kNormThreads / kWave), kNormThreads, kWave,
            [&] { NormWave<kWave>(args); });
  } else {
    Emulate(args.rows, kNormThreads, kWave, [&] { NormBlock<kWave>(args); });
  }
}

struct NormCase {
  int64_t rows, cols, stride;
  bool aligned, add, wave_a_row;
};

TEST(NormKernel, RowsOfAnySizeWithAndWithoutAddition) {
  const NormCase cases[] = {
      {0, 64, 64, true, false, false},       {1, 1, 1, false, false, false},
      {3, 8, 8, true, true, true},           {2, 7, 9, false, true, true},
      {3, 4096, 4104, true, true, false},    {2, 4099, 4101, false, true, false},
      {2, 20, 24, true, false, true},        {1, 10000, 10000, true, true, false},
      {2, 10003, 10008, true, false, false}, {9, 512, 512, true, true, true},
      {5, 2, 2, false, false, false}};
  for (const NormCase& c : cases) {
    for (const int wave : {32, 64}) {
      HostMatrix x(DType::kFloat32, c.rows, c.cols, c.stride);
      x.Fill(1);
      HostMatrix add(DType::kBFloat16, c.rows, c.cols, c.stride + 8);
      add.Fill(2);
      HostMatrix y(DType::kBFloat16, c.rows, c.cols, c.stride);
      const std::vector<float> weight = RandomFloats(c.cols + 4, 3);
      HostMatrix want = y, sums = x;
      for (int64_t r = 0; r < c.rows; ++r) {
        double squares = 0;
        for (int64_t i = 0; i < c.cols; ++i) {
          if (c.add) sums.Set(r, i, x.At(r, i) + add.At(r, i));
          squares += double{sums.At(r, i)} * sums.At(r, i);
        }
        for (int64_t i = 0; i < c.cols; ++i) {
          want.Set(r, i,
                   static_cast<float>(sums.At(r, i) * weight[static_cast<size_t>(i)] /
                                      std::sqrt(squares / static_cast<double>(c.cols) + 1e-5)));
        }
      }
      NormKernelArgs args = {.x = static_cast<float*>(x.data()),
                             .add = c.add ? Data16(add) : nullptr,
                             .weight = weight.data(),
                             .y = Data16(y),
                             .x_stride = c.stride,
                             .add_stride = c.stride + 8,
                             .y_stride = c.stride,
                             .rows = c.rows,
                             .cols = c.cols,
                             .eps = 1e-5f,
                             .aligned = c.aligned};
      wave == 32 ? RunNorm<32>(args, c.wave_a_row) : RunNorm<64>(args, c.wave_a_row);
      for (int64_t r = 0; r < c.rows; ++r) {
        for (int64_t i = 0; i < c.cols; ++i) {
          ExpectClose(y.At(r, i), want.At(r, i), "norm", r, i);
          ASSERT_EQ(x.At(r, i), sums.At(r, i)) << "residual " << r << " " << i;
        }
        for (int64_t i = c.cols; i < c.stride; ++i) ASSERT_TRUE(std::isnan(y.At(r, i)));
      }
    }
  }
}

struct RopeCase {
  int32_t num_heads, num_kv_heads, head_size, value_size, rotary_size;
  bool norms;
  DType cache;
  bool v_is_k = false;  // v_offset 0
  bool no_cache = false;
  int64_t extra_stride = 0;
};

TEST(QkNormRopeKernel, LeavesWhatNormRotationAndWriteLeaveOneByOne) {
  const RopeCase cases[] = {{1, 1, 2, 2, 2, false, DType::kBFloat16},
                            {4, 2, 128, 128, 128, false, DType::kBFloat16},
                            {2, 1, 64, 32, 16, true, DType::kFloat16},
                            {3, 1, 5, 3, 2, true, DType::kFloat32, false, false, 1},
                            {2, 2, 20, 20, 0, true, DType::kBFloat16},
                            {2, 1, 72, 64, 64, false, DType::kBFloat16, true},
                            {8, 1, 256, 256, 256, true, DType::kBFloat16, false, true},
                            {1, 1, 6, 4, 6, false, DType::kFloat32, false, false, 3}};
  for (const RopeCase& c : cases) {
    for (const int wave : {32, 64}) {
      constexpr int64_t kTokens = 5;
      constexpr int32_t kBlockSize = 3;
      const int32_t key_begin = c.num_heads * c.head_size;
      const int32_t value_begin = key_begin + c.num_kv_heads * c.head_size;
      const int64_t cols = value_begin + c.num_kv_heads * c.value_size;
      HostMatrix qkv(DType::kBFloat16, kTokens, cols, cols + c.extra_stride);
      qkv.Fill(4);
      const std::vector<float> q_norm = RandomFloats(c.head_size, 5);
      const std::vector<float> k_norm = RandomFloats(c.head_size, 6);
      const int64_t half = c.rotary_size / 2;
      const std::vector<float> cos = RandomFloats(64 * half + 1, 7);
      const std::vector<float> sin = RandomFloats(64 * half + 1, 8);
      const int32_t positions[kTokens] = {63, 0, 7, 1, 30};
      const int64_t slots[kTokens] = {11, -1, 0, 5, 7};
      const int64_t token_stride = c.head_size + c.value_size + 1;
      const int64_t head_stride = token_stride * kBlockSize + 2;
      const int64_t block_stride = head_stride * c.num_kv_heads + 5;
      HostMatrix cache(c.cache, 4, block_stride, block_stride);

      HostMatrix want = qkv, want_cache = cache;
      for (int64_t t = 0; t < kTokens; ++t) {
        for (int32_t h = 0; h < c.num_heads + c.num_kv_heads; ++h) {
          const int64_t base = int64_t{h} * c.head_size;
          std::vector<double> v(static_cast<size_t>(c.head_size));
          double squares = 0;
          for (int32_t i = 0; i < c.head_size; ++i) {
            v[static_cast<size_t>(i)] = qkv.At(t, base + i);
            squares += v[static_cast<size_t>(i)] * v[static_cast<size_t>(i)];
          }
          if (c.norms) {
            const auto& weight = h < c.num_heads ? q_norm : k_norm;
            for (int32_t i = 0; i < c.head_size; ++i) {
              v[static_cast<size_t>(i)] *=
                  weight[static_cast<size_t>(i)] / std::sqrt(squares / c.head_size + 1e-6);
            }
          }
          for (int64_t i = 0; i < half; ++i) {
            double& a = v[static_cast<size_t>(i)];
            double& b = v[static_cast<size_t>(half + i)];
            const auto at = static_cast<size_t>(positions[t] * half + i);
            const double turned = a * cos[at] - b * sin[at];
            b = b * cos[at] + a * sin[at];
            a = turned;
          }
          for (int32_t i = 0; i < c.head_size; ++i) {
            want.Set(t, base + i, static_cast<float>(v[static_cast<size_t>(i)]));
          }
        }
      }

      const QkNormRopeKernelArgs args = {
          .qkv = Data16(qkv),
          .stride = qkv.stride,
          .tokens = kTokens,
          .num_heads = c.num_heads,
          .num_kv_heads = c.num_kv_heads,
          .head_size = c.head_size,
          .value_size = c.value_size,
          .heads = c.num_heads + c.num_kv_heads * (c.no_cache || c.v_is_k ? 1 : 2),
          .q_norm = c.norms ? q_norm.data() : nullptr,
          .k_norm = c.norms ? k_norm.data() : nullptr,
          .norm_eps = 1e-6f,
          .rotary_size = c.rotary_size,
          .cos = cos.data(),
          .sin = sin.data(),
          .positions = positions,
          .cache = c.no_cache ? nullptr : cache.data(),
          .cache_dtype = static_cast<int32_t>(c.cache),
          .block_size = kBlockSize,
          .block_stride = block_stride,
          .head_stride = head_stride,
          .token_stride = token_stride,
          .v_offset = c.v_is_k ? 0 : c.head_size,
          .slot_mapping = slots,
          .pairs = c.head_size % 2 == 0 && half % 2 == 0 && c.value_size % 2 == 0 &&
                   qkv.stride % 2 == 0};
      const int64_t blocks = CeilDiv(kTokens * args.heads, kRopeThreads / wave);
      Emulate(blocks, kRopeThreads, wave,
              [&] { wave == 32 ? QkNormRopeBlock<32>(args) : QkNormRopeBlock<64>(args); });

      for (int64_t t = 0; t < kTokens; ++t) {
        for (int64_t i = 0; i < cols; ++i) {
          ASSERT_NEAR(qkv.At(t, i), want.At(t, i), 1e-5 + 0.01 * std::abs(want.At(t, i)))
              << t << " " << i << " head size " << c.head_size;
        }
      }
      // The cache holds exactly the rows' own bits, converted; everything else is untouched.
      for (int64_t t = 0; t < kTokens && !c.no_cache; ++t) {
        if (slots[t] < 0) continue;
        for (int32_t h = 0; h < c.num_kv_heads; ++h) {
          const int64_t at = slots[t] / kBlockSize * block_stride + h * head_stride +
                             slots[t] % kBlockSize * token_stride;
          for (int32_t i = 0; i < c.head_size; ++i) {
            StoreFromFloat(c.cache, want_cache.data(), at + i,
                           qkv.At(t, key_begin + h * c.head_size + i));
          }
          for (int32_t i = 0; i < c.value_size && !c.v_is_k; ++i) {
            StoreFromFloat(c.cache, want_cache.data(), at + c.head_size + i,
                           qkv.At(t, value_begin + h * c.value_size + i));
          }
        }
      }
      ASSERT_EQ(cache.bytes, want_cache.bytes) << "head size " << c.head_size;
    }
  }
}

TEST(ActivateKernel, GatesRowsOfAnySize) {
  struct Case {
    int64_t rows, cols, stride;
    bool aligned;
  };
  for (const Case& c : {Case{0, 8, 16, true}, Case{1, 1, 2, false}, Case{3, 2050, 4104, false},
                        Case{2, 4096, 8192, true}, Case{2, 8, 24, true}, Case{2, 13, 27, false}}) {
    HostMatrix x(DType::kBFloat16, c.rows, 2 * c.cols, c.stride);
    x.Fill(1, 3.0f);
    if (c.rows > 0) x.Set(0, 0, -200.0f);  // an exponential that overflows
    HostMatrix y(DType::kBFloat16, c.rows, c.cols, c.cols);
    const ActivateKernelArgs args = {.x = Data16(x),
                                     .y = Data16(y),
                                     .x_stride = c.stride,
                                     .y_stride = c.cols,
                                     .cols = c.cols,
                                     .parts = CeilDiv(c.cols, kRowPart),
                                     .aligned = c.aligned};
    Emulate(c.rows * args.parts, kRowThreads, 32, [&] { ActivateBlock(args); });
    for (int64_t r = 0; r < c.rows; ++r) {
      for (int64_t i = 0; i < c.cols; ++i) {
        const double gate = x.At(r, i);
        ExpectClose(y.At(r, i),
                    static_cast<float>(gate / (1 + std::exp(-gate)) * x.At(r, c.cols + i)), "silu",
                    r, i);
      }
    }
  }
}

TEST(GatherKernel, RowsOfTablesOfEachTypeAtBothEnds) {
  struct Case {
    DType from, to;
    int64_t cols, stride;
    bool aligned;
  };
  for (const Case& c : {Case{DType::kBFloat16, DType::kBFloat16, 2056, 2056, true},
                        Case{DType::kBFloat16, DType::kBFloat16, 5, 7, false},
                        Case{DType::kBFloat16, DType::kFloat32, 2056, 2056, true},
                        Case{DType::kBFloat16, DType::kFloat32, 13, 15, false},
                        Case{DType::kFloat16, DType::kFloat32, 64, 64, true},
                        Case{DType::kFloat16, DType::kFloat32, 1, 1, false},
                        Case{DType::kFloat32, DType::kFloat32, 12, 16, true},
                        Case{DType::kFloat32, DType::kFloat32, 11, 11, false}}) {
    HostMatrix x(c.from, 9, c.cols, c.stride);
    x.Fill(1);
    const int32_t ids[] = {8, 0, 3, 3};
    HostMatrix y(c.to, 4, c.cols, c.stride);
    const GatherKernelArgs args = {.x = x.data(),
                                   .ids = ids,
                                   .y = y.data(),
                                   .x_stride = c.stride,
                                   .y_stride = c.stride,
                                   .cols = c.cols,
                                   .parts = CeilDiv(c.cols, kRowPart),
                                   .x_dtype = static_cast<int32_t>(c.from),
                                   .y_dtype = static_cast<int32_t>(c.to),
                                   .aligned = c.aligned};
    Emulate(4 * args.parts, kRowThreads, 64, [&] { GatherBlock(args); });
    for (int64_t r = 0; r < 4; ++r) {
      for (int64_t i = 0; i < c.cols; ++i) {
        ASSERT_EQ(y.At(r, i), x.At(ids[r], i));
      }
    }
  }
}

TEST(ResolveIdsKernel, ReplacesNegativeIdsAndNoOthers) {
  const std::vector<int32_t> sampled = {70, 0, 90};
  std::vector<int32_t> ids(kRowThreads + 2, 5);
  ids[0] = -3;
  ids[1] = 0;
  ids[kRowThreads] = -1;
  ids[kRowThreads + 1] = -2;  // after the last one
  std::vector<int32_t> want = ids;
  want[0] = 90;
  want[kRowThreads] = 70;
  const ResolveIdsKernelArgs args = {
      .ids = ids.data(), .sampled = sampled.data(), .count = kRowThreads + 1};
  Emulate(2, kRowThreads, 32, [&] { ResolveIdsBlock(args); });
  EXPECT_EQ(ids, want);
}

TEST(FillBiasKernel, RepeatsTheBiasInEachRow) {
  for (const DType type : {DType::kBFloat16, DType::kFloat32}) {
    const std::vector<float> bias = RandomFloats(2100, 1);
    HostMatrix y(type, 2, 2100, 2101);
    const FillBiasKernelArgs args = {.bias = bias.data(),
                                     .y = y.data(),
                                     .stride = 2101,
                                     .cols = 2100,
                                     .parts = 2,
                                     .dtype = static_cast<int32_t>(type)};
    Emulate(4, kRowThreads, 32, [&] { FillBiasBlock(args); });
    for (int64_t i = 0; i < 2100; ++i) {
      const float b = bias[static_cast<size_t>(i)];
      ASSERT_EQ(y.At(1, i), type == DType::kFloat32 ? b : RoundToBFloat16(b));
    }
    ASSERT_TRUE(std::isnan(y.At(0, 2100)));
  }
}

}  // namespace
}  // namespace tessera::ops_gpu
