#include "ops/cpu/cpu_ops.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "hwy/targets.h"
#include "tessera/registry.h"

namespace tessera {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Every instruction family of this machine, then the best one with bfloat16 instructions.
struct Machine {
  int64_t target = 0;
  bool native_bfloat16 = false;
};

void PrintTo(const Machine& machine, std::ostream* out) { *out << machine.target; }

std::vector<Machine> Machines() {
  std::vector<Machine> machines;
  // Not compiled: their neighbours serve.
  constexpr int64_t kSkipped = HWY_AVX3_DL | HWY_SSSE3 | HWY_EMU128;
  const int64_t supported = hwy::SupportedTargets();
  for (int64_t targets = supported & ~kSkipped; targets != 0; targets &= targets - 1) {
    machines.push_back({targets & -targets, false});
  }
  machines.push_back({supported, true});
  return machines;
}

class CpuOpsTest : public testing::TestWithParam<Machine> {
 protected:
  CpuOpsTest() : threads_(ThreadPool::Options{.num_threads = 3, .pin = false}) {
    hwy::SetSupportedTargetsForTest(GetParam().target);
    device_ = CreateCpuDevice();
    stream_ = std::move(device_->NewStream()).value();
    ops_ = CreateCpuOps(device_.get(), stream_.get(), &threads_,
                        {.native_bfloat16 = GetParam().native_bfloat16});
  }
  ~CpuOpsTest() override { hwy::SetSupportedTargetsForTest(0); }

  ThreadPool threads_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Ops> ops_;
};

std::string MachineName(const testing::TestParamInfo<Machine>& info) {
  return info.param.native_bfloat16 ? "BFloat16" : hwy::TargetName(info.param.target);
}

INSTANTIATE_TEST_SUITE_P(Targets, CpuOpsTest, testing::ValuesIn(Machines()), MachineName);

std::vector<float> Random(int64_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

Tensor View(std::vector<float>& values, int64_t rows, int64_t cols, int64_t stride) {
  return {values.data(), DType::kFloat32, rows, cols, stride};
}

Tensor View(std::vector<float>& values, int64_t rows, int64_t cols) {
  return View(values, rows, cols, cols);
}

WeightSource Source(const void* values, DType type, int64_t rows, int64_t cols,
                    const float* bias = nullptr) {
  return {.dtype = type,
          .values = values,
          .bias = bias,
          .rows = rows,
          .cols = cols,
          .row_stride = cols};
}

std::vector<uint8_t> Convert(DType type, const std::vector<float>& values) {
  std::vector<uint8_t> bytes(values.size() * SizeOf(type));
  ConvertFromFloat(type, values.data(), static_cast<int64_t>(values.size()), bytes.data());
  return bytes;
}

struct Shape {
  int64_t rows, in, out;
};

void PrintTo(const Shape& shape, std::ostream* out) {
  *out << shape.rows << " x " << shape.in << " x " << shape.out;
}

// y against sums in float64, within the error of `in` roundings of float32 and, in bfloat16, of
// rounding x.
void CheckLinear(Ops& ops, const Shape& shape, DType type, MatmulMode mode) {
  SCOPED_TRACE(testing::Message() << testing::PrintToString(shape) << " " << ToString(type)
                                  << (mode == MatmulMode::kBFloat16 ? " bfloat16 mode" : ""));
  const std::vector<uint8_t> weights = Convert(type, Random(shape.in * shape.out, 1));
  const std::vector<float> bias = Random(shape.out, 2);
  const WeightSource source = Source(weights.data(), type, shape.out, shape.in, bias.data());
  auto packed = ops.Pack({&source, 1}, mode);
  ASSERT_TRUE(packed.ok());
  EXPECT_EQ((*packed)->in_features(), shape.in);
  EXPECT_EQ((*packed)->out_features(), shape.out);

  // Padding around rows: what lies there is never read, and never written.
  const int64_t x_stride = shape.in + 3, y_stride = shape.out + 5;
  std::vector<float> x = Random(shape.rows * x_stride, 3);
  for (int64_t r = 0; r < shape.rows; ++r) {
    for (int64_t i = shape.in; i < x_stride; ++i) x[static_cast<size_t>(r * x_stride + i)] = kNan;
  }
  std::vector<float> y(static_cast<size_t>(shape.rows * y_stride), -77.0f);
  ops.Linear(**packed, View(x, shape.rows, shape.in, x_stride),
             View(y, shape.rows, shape.out, y_stride));

  const double rounding = mode == MatmulMode::kBFloat16 ? 1.0 / 256 : 0;
  for (int64_t r = 0; r < shape.rows; ++r) {
    for (int64_t o = 0; o < shape.out; ++o) {
      double sum = bias[static_cast<size_t>(o)], size = std::abs(sum);
      for (int64_t i = 0; i < shape.in; ++i) {
        const double product =
            static_cast<double>(x[static_cast<size_t>(r * x_stride + i)]) *
            static_cast<double>(LoadAsFloat(type, weights.data(), o * shape.in + i));
        sum += product;
        size += std::abs(product);
      }
      const float got = y[static_cast<size_t>(r * y_stride + o)];
      ASSERT_NEAR(got, sum, size * (rounding + 1e-6 + 6e-8 * std::sqrt(shape.in)))
          << "row " << r << " output " << o;
    }
    for (int64_t o = shape.out; o < y_stride; ++o) {
      ASSERT_EQ(y[static_cast<size_t>(r * y_stride + o)], -77.0f);
    }
  }
}

TEST_P(CpuOpsTest, LinearAgreesWithFloat64) {
  const Shape shapes[] = {{0, 5, 7},      {1, 0, 3},     {1, 1, 1},     {2, 3, 0},
                          {3, 7, 31},     {1, 64, 33},   {5, 65, 64},   {6, 511, 65},
                          {7, 512, 95},   {11, 513, 97}, {12, 320, 64}, {13, 33, 129},
                          {25, 1025, 96}, {130, 768, 66}};
  for (const Shape& shape : shapes) {
    for (DType type : {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kE4M3FN}) {
      CheckLinear(*ops_, shape, type, MatmulMode::kFloat32);
    }
    CheckLinear(*ops_, shape, DType::kBFloat16, MatmulMode::kBFloat16);
    CheckLinear(*ops_, shape, DType::kFloat16, MatmulMode::kBFloat16);
  }
}

TEST_P(CpuOpsTest, RowsOfALinearLayerDoNotDependOnTheBatch) {
  constexpr int64_t kRows = 260, kIn = 801, kOut = 225;
  const std::vector<uint8_t> weights = Convert(DType::kBFloat16, Random(kIn * kOut, 1));
  const WeightSource source = Source(weights.data(), DType::kBFloat16, kOut, kIn);
  std::vector<float> x = Random(kRows * kIn, 3);
  for (MatmulMode mode : {MatmulMode::kFloat32, MatmulMode::kBFloat16}) {
    auto packed = ops_->Pack({&source, 1}, mode);
    ASSERT_TRUE(packed.ok());
    std::vector<float> all(kRows * kOut);
    ops_->Linear(**packed, View(x, kRows, kIn), View(all, kRows, kOut));
    for (int64_t rows : {1, 2, 3, 4, 5, 6, 7, 12, 13, 31, 121, 250}) {
      std::vector<float> some(static_cast<size_t>(rows * kOut));
      ops_->Linear(**packed, View(x, rows, kIn), View(some, rows, kOut));
      ASSERT_EQ(std::memcmp(some.data(), all.data(), some.size() * sizeof(float)), 0) << rows;
    }
  }
}

TEST_P(CpuOpsTest, PacksMatricesSideBySide) {
  // Rows of one matrix end inside a panel; types differ, so that float32 holds them all.
  std::vector<float> q(40 * 6), k(9 * 6), ones(6, 1.0f), y(49);
  const auto row = [](size_t element) { return element / 6; };
  for (size_t i = 0; i < q.size(); ++i) q[i] = static_cast<float>(row(i));
  for (size_t i = 0; i < k.size(); ++i) k[i] = static_cast<float>(100 + row(i));
  const std::vector<uint8_t> half = Convert(DType::kFloat16, k);
  const std::vector<float> bias(9, 0.5f);
  const WeightSource sources[] = {Source(q.data(), DType::kFloat32, 40, 6),
                                  Source(half.data(), DType::kFloat16, 9, 6, bias.data())};
  auto packed = ops_->Pack(sources, MatmulMode::kFloat32);
  ASSERT_TRUE(packed.ok());
  ops_->Linear(**packed, View(ones, 1, 6), View(y, 1, 49));
  for (int o = 0; o < 49; ++o) {
    EXPECT_EQ(y[static_cast<size_t>(o)], o < 40 ? 6.0f * o : 6.0f * (60 + o) + 0.5f) << o;
  }
}

TEST_P(CpuOpsTest, RefusesMatricesThatDoNotFit) {
  const float zero[8] = {};
  const WeightSource sources[] = {Source(zero, DType::kFloat32, 2, 4),
                                  Source(zero, DType::kFloat32, 2, 3)};
  auto packed = ops_->Pack(sources, MatmulMode::kFloat32);
  ASSERT_FALSE(packed.ok());
  EXPECT_THAT(packed.error().message, testing::HasSubstr("[2, 4] and [2, 3]"));
  EXPECT_FALSE(ops_->Pack({}, MatmulMode::kFloat32).ok());
}

// Columns of a wider matrix: a slice.
TEST_P(CpuOpsTest, PacksColumnsOfAWiderMatrix) {
  constexpr int64_t kRows = 35, kCols = 9, kWide = 14;
  const std::vector<uint8_t> wide = Convert(DType::kBFloat16, Random(kRows * kWide, 1));
  std::vector<uint16_t> narrow;
  for (int64_t i = 0; i < kRows * kCols; ++i) {
    narrow.push_back(
        reinterpret_cast<const uint16_t*>(wide.data())[i / kCols * kWide + 3 + i % kCols]);
  }
  WeightSource slice = Source(wide.data() + 3 * 2, DType::kBFloat16, kRows, kCols);
  slice.row_stride = kWide;
  const WeightSource whole = Source(narrow.data(), DType::kBFloat16, kRows, kCols);
  std::vector<float> x = Random(2 * kCols, 2), y(2 * kRows), z(2 * kRows);
  auto first = ops_->Pack({&slice, 1}, MatmulMode::kFloat32);
  auto second = ops_->Pack({&whole, 1}, MatmulMode::kFloat32);
  ASSERT_TRUE(first.ok() && second.ok());
  ops_->Linear(**first, View(x, 2, kCols), View(y, 2, kRows));
  ops_->Linear(**second, View(x, 2, kCols), View(z, 2, kRows));
  EXPECT_EQ(y, z);
}

TEST_P(CpuOpsTest, NanStaysInItsRow) {
  constexpr int64_t kRows = 14, kIn = 37, kOut = 40;
  const std::vector<uint8_t> weights = Convert(DType::kBFloat16, Random(kIn * kOut, 1));
  const WeightSource source = Source(weights.data(), DType::kBFloat16, kOut, kIn);
  std::vector<float> x = Random(kRows * kIn, 3), y(kRows * kOut);
  x[5 * kIn + 36] = kNan;
  for (MatmulMode mode : {MatmulMode::kFloat32, MatmulMode::kBFloat16}) {
    auto packed = ops_->Pack({&source, 1}, mode);
    ASSERT_TRUE(packed.ok());
    ops_->Linear(**packed, View(x, kRows, kIn), View(y, kRows, kOut));
    for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i / kOut == 5);
  }
}

TEST_P(CpuOpsTest, EmbeddingsOfEveryType) {
  constexpr int64_t kVocabulary = 45, kHidden = 19;
  for (DType type : {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kE5M2}) {
    const std::vector<uint8_t> table = Convert(type, Random(kVocabulary * kHidden, 1));
    const WeightSource source = Source(table.data(), type, kVocabulary, kHidden);
    auto packed = ops_->Pack({&source, 1}, MatmulMode::kBFloat16);
    auto rows = ops_->PackTable(source);
    ASSERT_TRUE(packed.ok() && rows.ok());
    const int32_t ids[] = {0, 44, 31, 32, 0};
    std::vector<float> y(5 * 20, -1.0f), z = y;
    ops_->Embed(**rows, ids, View(y, 5, kHidden, 20));
    ops_->Embed(**packed, ids, View(z, 5, kHidden, 20));
    for (int64_t i = 0; i < 100; ++i) {
      const float want = i % 20 == kHidden
                             ? -1.0f
                             : LoadAsFloat(type, table.data(), ids[i / 20] * kHidden + i % 20);
      EXPECT_EQ(y[static_cast<size_t>(i)], want);
      EXPECT_EQ(z[static_cast<size_t>(i)], want);
    }
  }
}

TEST_P(CpuOpsTest, Norms) {
  for (const Shape& shape : {Shape{0, 4, 0}, Shape{1, 1, 0}, Shape{3, 67, 0}, Shape{300, 320, 0}}) {
    const int64_t rows = shape.rows, cols = shape.in, count = rows * cols;
    std::vector<float> x = Random(count, 1), residual = Random(count, 2), weight = Random(cols, 3);
    std::vector<float> y(x.size()), z(x.size()), sum = residual;
    const Tensor added = View(x, rows, cols);
    ops_->Norm({.x = added, .weight = weight.data(), .eps = 1e-5f, .y = View(y, rows, cols)});
    ops_->Norm({.x = View(sum, rows, cols),
                .add = &added,
                .weight = weight.data(),
                .eps = 1e-5f,
                .y = View(z, rows, cols)});
    for (int64_t r = 0; r < rows; ++r) {
      double squares_x = 0, squares_sum = 0;
      for (int64_t i = 0; i < cols; ++i) {
        const auto at = static_cast<size_t>(r * cols + i);
        EXPECT_EQ(sum[at], x[at] + residual[at]);
        squares_x += double{x[at]} * double{x[at]};
        squares_sum += double{sum[at]} * double{sum[at]};
      }
      const auto n = static_cast<double>(cols);
      for (int64_t i = 0; i < cols; ++i) {
        const auto at = static_cast<size_t>(r * cols + i);
        const double w = weight[static_cast<size_t>(i)];
        const double want_y = x[at] / std::sqrt(squares_x / n + 1e-5) * w;
        const double want_z = sum[at] / std::sqrt(squares_sum / n + 1e-5) * w;
        EXPECT_NEAR(y[at], want_y, 1e-6 * std::abs(want_y));
        EXPECT_NEAR(z[at], want_z, 1e-6 * std::abs(want_z));
      }
    }
  }
}

TEST_P(CpuOpsTest, SiluMul) {
  std::vector<float> gates = {0.0f, -0.0f, 1.0f, -1.0f, 88.0f, -80.0f, 1e30f, -1e30f, kNan};
  for (float g = -86.0f; g < 90.0f; g += 0.0137f) gates.push_back(g);
  const auto n = static_cast<int64_t>(gates.size());
  std::vector<float> x = gates, y(gates.size());
  x.resize(gates.size() * 2, 2.0f);
  ops_->Activate(Activation::kSilu, View(x, 1, 2 * n), View(y, 1, n));
  for (size_t i = 0; i < gates.size(); ++i) {
    const double g = gates[i];
    if (std::isnan(g)) {
      EXPECT_TRUE(std::isnan(y[i]));
      continue;
    }
    const double want = 2 * g / (1 + std::exp(-g));
    EXPECT_NEAR(y[i], want, std::abs(want) * 3.6e-7 + 1e-37) << g;
  }
}

TEST_P(CpuOpsTest, ResolveIdsReplacesNegativeIds) {
  std::vector<int32_t> ids = {4, -1, 0, -3, -2};
  const int32_t sampled[] = {10, 20, 30};
  ops_->ResolveIds(ids.data(), 4, sampled);
  EXPECT_EQ(ids, (std::vector<int32_t>{4, 10, 0, 30, -2}));
}

TEST_P(CpuOpsTest, SampledReturnsTwoStepsInTheirOrder) {
  std::vector<float> logits = {1, 2, 3, 9, 2, 3};
  SamplingBatch batch;
  batch.rows.push_back({.temperature = 0});
  for (int64_t step = 0; step < 2; ++step) {
    const Tensor row = {logits.data() + 3 * step, DType::kFloat32, 1, 3, 3};
    ASSERT_TRUE(ops_->Sample(batch, row, nullptr).ok());
  }
  for (const int32_t want : {2, 0}) {
    const auto sampled = ops_->Sampled();
    ASSERT_TRUE(sampled.ok());
    EXPECT_EQ((*sampled)[0]->token, want);
  }
}

TEST_P(CpuOpsTest, GatherTakesRowsInAnyOrder) {
  std::vector<float> x = Random(7 * 5, 1), y(4 * 6, -1.0f);
  const int32_t rows[] = {6, 0, 0, 3};
  ops_->Gather(View(x, 7, 5), rows, View(y, 4, 5, 6));
  for (size_t i = 0; i < 4; ++i) {
    for (size_t j = 0; j < 5; ++j) {
      EXPECT_EQ(y[i * 6 + j], x[static_cast<size_t>(rows[i]) * 5 + j]);
    }
    EXPECT_EQ(y[i * 6 + 5], -1.0f);
  }
}

// Norms of heads, rotation, and what stays untouched, against float64.
TEST_P(CpuOpsTest, QkNormRope) {
  constexpr int32_t kHead = 40, kRotary = 34, kHalf = kRotary / 2, kValue = 8;
  constexpr int64_t kTokens = 3, kWidth = 3 * kHead + kValue, kStride = kWidth + 1;
  const std::vector<float> angles = Random(50 * kHalf, 1);
  std::vector<float> cos, sin;
  for (float angle : angles) {
    cos.push_back(std::cos(angle));
    sin.push_back(std::sin(angle));
  }
  const std::vector<float> norms[] = {Random(kHead, 5), Random(kHead, 6)};
  const int32_t positions[] = {49, 0, 7};
  for (const bool normed : {false, true}) {
    for (const int32_t rotary : {kRotary, 0}) {
      std::vector<float> data = Random(kTokens * kStride, 2);
      const std::vector<float> before = data;
      ops_->QkNormRope({.qkv = View(data, kTokens, kWidth, kStride),
                        .num_heads = 2,
                        .num_kv_heads = 1,
                        .head_size = kHead,
                        .value_size = kValue,
                        .q_norm = normed ? norms[0].data() : nullptr,
                        .k_norm = normed ? norms[1].data() : nullptr,
                        .norm_eps = 1e-5f,
                        .rope = {cos.data(), sin.data(), 50, rotary},
                        .positions = positions});
      for (int64_t t = 0; t < kTokens; ++t) {
        for (int64_t j = 0; j < kStride; ++j) {
          const auto at = static_cast<size_t>(t * kStride + j);
          const int64_t i = j % kHead;
          double want = before[at];
          if (j < 3 * kHead) {
            const std::vector<float>& weight = norms[j < 2 * kHead ? 0 : 1];
            double squares = 0;
            for (int64_t k = 0; k < kHead; ++k) {
              const double x = before[at - static_cast<size_t>(i) + static_cast<size_t>(k)];
              squares += x * x;
            }
            const double factor = normed ? 1 / std::sqrt(squares / kHead + 1e-5) : 1.0;
            const auto value = [&](int64_t k) {
              return before[at - static_cast<size_t>(i) + static_cast<size_t>(k)] * factor *
                     (normed ? double{weight[static_cast<size_t>(k)]} : 1.0);
            };
            want = value(i);
            if (i < rotary) {
              const auto pair = static_cast<size_t>(positions[t] * kHalf + i % kHalf);
              const double other = value(i < kHalf ? i + kHalf : i - kHalf);
              want = want * double{cos[pair]} + (i < kHalf ? -other : other) * double{sin[pair]};
            }
          }
          EXPECT_NEAR(data[at], want, 3e-6);
        }
      }
    }
  }
}

// The fused write leaves in a plain cache, byte by byte, what Backend::WriteKv leaves there.
TEST_P(CpuOpsTest, QkNormRopeWritesWhatWriteKvWrites) {
  struct Case {
    DType dtype;
    int32_t kv_heads, head_size, value_size, block_size;
    KvOrder order;
    bool latent;
  };
  const Case cases[] = {{DType::kFloat32, 2, 8, 8, 3, KvOrder::kBlockHeadToken, false},
                        {DType::kBFloat16, 1, 33, 17, 16, KvOrder::kBlockTokenHead, false},
                        {DType::kFloat16, 3, 64, 64, 1, KvOrder::kBlockHeadToken, false},
                        {DType::kBFloat16, 1, 24, 16, 4, KvOrder::kBlockTokenHead, true}};
  constexpr int64_t kTokens = 9;
  const std::vector<int64_t> slots = {5, -1, 0, 11, 4, -1, 3, 10, 1};
  for (const Case& c : cases) {
    const int64_t width = (2 * c.kv_heads + c.kv_heads) * c.head_size + c.kv_heads * c.value_size;
    std::vector<float> data = Random(kTokens * width, 3);
    KvCacheShape shape;
    shape.num_blocks = 12;
    shape.block_size = c.block_size;
    shape.num_kv_heads = c.kv_heads;
    shape.head_size = c.head_size;
    shape.head_size_v = c.value_size;
    shape.order = c.order;
    std::vector<uint8_t> fused(static_cast<size_t>(KvCacheElements(shape)) * SizeOf(c.dtype), 0xa5);
    std::vector<uint8_t> written = fused;
    KvCache cache = MakeKvCache(shape, c.dtype, fused.data());
    if (c.latent) cache.v_offset = 0;
    ops_->QkNormRope({.qkv = View(data, kTokens, width),
                      .num_heads = 2 * c.kv_heads,
                      .num_kv_heads = c.kv_heads,
                      .head_size = c.head_size,
                      .value_size = c.value_size,
                      .cache = &cache,
                      .slot_mapping = slots.data()});

    AttentionSpec spec;
    spec.num_heads = 2 * c.kv_heads;
    spec.num_kv_heads = c.kv_heads;
    spec.head_size = c.head_size;
    spec.head_size_v = c.value_size;
    spec.query_dtype = spec.output_dtype = DType::kFloat32;
    spec.cache_dtype = c.dtype;
    auto selection = SelectBackend({"reference", spec, c.block_size}, {device_.get(), &threads_});
    ASSERT_TRUE(selection.ok()) << selection.error().message;
    auto plan = selection->backend->NewPlan(spec, {.max_seqs = 1, .max_tokens = kTokens});
    ASSERT_TRUE(plan.ok());
    const int32_t starts[] = {0, kTokens};
    AttentionBatch batch;
    batch.num_seqs = 1;
    batch.num_tokens = kTokens;
    const int32_t length = kTokens;
    const std::vector<int32_t> pages(kTokens, 0);
    batch.host.query_start_loc = starts;
    batch.host.seq_lens = &length;
    batch.host.block_table = pages.data();
    batch.host.slot_mapping = slots.data();
    batch.device = batch.host;
    batch.block_table_stride = kTokens;
    batch.max_query_len = batch.max_seq_len = kTokens;
    cache.data = written.data();
    const float* const keys = data.data() + 2 * c.kv_heads * c.head_size;
    const Status status = selection->backend->WriteKv(**plan, batch,
                                                      {.key = keys,
                                                       .value = keys + c.kv_heads * c.head_size,
                                                       .dtype = DType::kFloat32,
                                                       .key_token_stride = width,
                                                       .key_head_stride = c.head_size,
                                                       .value_token_stride = width,
                                                       .value_head_stride = c.value_size},
                                                      cache, *stream_);
    ASSERT_TRUE(status.ok()) << status.error().message;
    EXPECT_EQ(fused, written) << ToString(c.dtype);
  }
}

}  // namespace
}  // namespace tessera
