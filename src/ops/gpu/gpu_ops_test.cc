// The operations as their callers see them, on an emulated GPU: what the kernels' own tests do not
// see is the host's side.
#include "ops/gpu/gpu_ops.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "device/gpu/gpu_device.h"
#include "ops/gpu/gpu_test_device.h"
#include "tessera/dtype.h"

namespace tessera {
namespace {

std::vector<float> Random(int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = BFloat16ToFloat(FloatToBFloat16(normal(generator)));
  return values;
}
std::vector<uint16_t> ToBFloat16(const std::vector<float>& values) {
  std::vector<uint16_t> bits(values.size());
  ConvertFromFloat(DType::kBFloat16, values.data(), static_cast<int64_t>(values.size()),
                   bits.data());
  return bits;
}
Tensor Float32(const Buffer& buffer, int64_t rows, int64_t cols) {
  return {buffer.data(), DType::kFloat32, rows, cols, cols};
}
Tensor BFloat16(const Buffer& buffer, int64_t rows, int64_t cols) {
  return {buffer.data(), DType::kBFloat16, rows, cols, cols};
}

class GpuOpsTest : public ::testing::TestWithParam<std::string> {
 protected:
  Ops& ops() { return device_.ops(); }
  std::vector<float> Values(const Buffer& buffer, int64_t count) {
    const auto bits = device_.Download<uint16_t>(buffer, count);
    std::vector<float> values(bits.size());
    ConvertToFloat(DType::kBFloat16, bits.data(), count, values.data());
    return values;
  }
  GpuTestDevice device_{GetParam()};
};

struct LinearCase {
  int64_t rows;
  std::vector<int64_t> parts;
  int64_t cols;
  DType dtype;
  bool bias;
};

TEST_P(GpuOpsTest, LinearOfSeveralMatricesOfEachType) {
  std::vector<LinearCase> cases = {
      {0, {8}, 16, DType::kBFloat16, false},          {1, {5}, 3, DType::kBFloat16, true},
      {4, {32, 16, 16}, 64, DType::kBFloat16, false}, {16, {17, 2}, 1100, DType::kFloat16, true},
      {20, {40, 40}, 1104, DType::kBFloat16, true},   {21, {40, 41}, 1100, DType::kBFloat16, true},
      {24, {64}, 128, DType::kBFloat16, false},       {70, {33}, 65, DType::kFloat32, true}};
  if (device_.real()) {
    for (const DType dtype : {DType::kBFloat16, DType::kFloat16, DType::kFloat32}) {
      cases.push_back({16, {9000}, 1024, dtype, true});
      cases.push_back({257, {1152}, 512, dtype, true});
      cases.push_back({1030, {2304}, 264, dtype, false});
    }
  }
  for (const LinearCase& c : cases) {
    int64_t n = 0;
    for (const int64_t rows : c.parts) n += rows;
    const std::vector<float> weights = Random(n * (c.cols + 2), 1), bias = Random(n, 2);
    std::vector<char> stored(weights.size() * SizeOf(c.dtype));
    ConvertFromFloat(c.dtype, weights.data(), static_cast<int64_t>(weights.size()), stored.data());
    std::vector<WeightSource> parts;
    int64_t first = 0;
    for (const int64_t rows : c.parts) {
      parts.push_back(
          {.dtype = c.dtype,
           .values = stored.data() + static_cast<size_t>(first * (c.cols + 2)) * SizeOf(c.dtype),
           .bias = c.bias && first == 0 ? bias.data() : nullptr,
           .rows = rows,
           .cols = c.cols,
           .row_stride = c.cols + 2});
      first += rows;
    }
    auto packed = ops().Pack(parts, MatmulMode::kBFloat16);
    ASSERT_TRUE(packed.ok()) << packed.error().message;
    EXPECT_EQ((*packed)->out_features(), n);
    const std::vector<float> x = Random(c.rows * c.cols, 3);
    Buffer x_buffer = device_.Upload(ToBFloat16(x));
    Buffer y_buffer = device_.Upload(std::vector<float>(static_cast<size_t>(c.rows * n)));
    ops().Linear(**packed, BFloat16(x_buffer, c.rows, c.cols),
                 {y_buffer.data(), DType::kFloat32, c.rows, n, n});
    const auto y = device_.Download<float>(y_buffer, c.rows * n);
    for (int64_t r = 0; r < c.rows; ++r) {
      for (int64_t i = 0; i < n; ++i) {
        double want = c.bias && i < c.parts[0] ? bias[static_cast<size_t>(i)] : 0.0;
        for (int64_t k = 0; k < c.cols; ++k) {
          want += double{x[static_cast<size_t>(r * c.cols + k)]} *
                  weights[static_cast<size_t>(i * (c.cols + 2) + k)];
        }
        ASSERT_NEAR(y[static_cast<size_t>(r * n + i)], want, 1e-2) << r << " " << i;
      }
    }
  }
}

// Row r alone, and among so many rows that every kernel and every split of k has its turn.
TEST_P(GpuOpsTest, BatchInvariantLinearOfARowIsTheSameBits) {
  GpuTestDevice device(GetParam(), /*batch_invariant=*/true);
  EXPECT_FALSE(device.ops().library_reason().empty());
  struct Shape {
    int64_t n, k;
    DType dtype;
  };
  std::vector<Shape> shapes = {{70, 1304, DType::kBFloat16}, {40, 200, DType::kFloat32}};
  std::vector<int64_t> counts = {2, 3, 8, 16, 17, 40};
  if (device_.real()) {
    shapes.push_back({4096, 4096, DType::kBFloat16});
    shapes.push_back({28672, 4096, DType::kBFloat16});
    shapes.push_back({1000, 14337, DType::kFloat16});
    counts.insert(counts.end(), {64, 65, 250, 700});
  }
  for (const Shape& shape : shapes) {
    const int64_t n = shape.n, k = shape.k, most = counts.back();
    const std::vector<float> weights = Random(n * k, 1), x = Random(most * k, 3);
    std::vector<char> stored(weights.size() * SizeOf(shape.dtype));
    ConvertFromFloat(shape.dtype, weights.data(), n * k, stored.data());
    const WeightSource source = {
        .dtype = shape.dtype, .values = stored.data(), .rows = n, .cols = k, .row_stride = k};
    auto packed = device.ops().Pack({&source, 1}, MatmulMode::kBFloat16);
    ASSERT_TRUE(packed.ok()) << packed.error().message;
    Buffer x_buffer = device.Upload(ToBFloat16(x));
    Buffer y_buffer = device.Upload(std::vector<float>(static_cast<size_t>(most * n)));
    for (const DType y_type : {DType::kFloat32, DType::kBFloat16}) {
      // The bits of rows x[first] .. x[first + rows - 1] times the weights.
      const auto multiply = [&](int64_t first, int64_t rows) {
        Tensor from = BFloat16(x_buffer, most, k);
        from.data = static_cast<uint16_t*>(from.data) + first * k;
        from.rows = rows;
        device.ops().Linear(**packed, from, {y_buffer.data(), y_type, rows, n, n});
        return device.Download<char>(y_buffer, rows * n * static_cast<int64_t>(SizeOf(y_type)));
      };
      const int64_t row_bytes = n * static_cast<int64_t>(SizeOf(y_type));
      const std::vector<char> all = multiply(0, most);
      for (const int64_t row : {int64_t{0}, int64_t{5}, most - 1}) {
        EXPECT_TRUE(multiply(row, 1) == std::vector<char>(all.begin() + row * row_bytes,
                                                          all.begin() + (row + 1) * row_bytes))
            << row << " of " << most << ", n " << n << ", k " << k << ", " << ToString(y_type);
      }
      for (const int64_t rows : counts) {
        EXPECT_TRUE(multiply(0, rows) ==
                    std::vector<char>(all.begin(), all.begin() + rows * row_bytes))
            << rows << " rows, n " << n << ", k " << k << ", " << ToString(y_type);
      }
    }
  }
}

TEST_P(GpuOpsTest, EmbedAndGatherTakeRows) {
  const std::vector<float> table = Random(7 * 20, 1);
  auto packed = ops().PackTable(
      {.dtype = DType::kFloat32, .values = table.data(), .rows = 7, .cols = 20, .row_stride = 20});
  ASSERT_TRUE(packed.ok());
  Buffer ids = device_.Upload(std::vector<int32_t>{6, 0, 6});
  Buffer y = device_.Upload(std::vector<float>(60));
  ops().Embed(**packed, ids.As<int32_t>(), Float32(y, 3, 20));
  const auto values = device_.Download<float>(y, 60);
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(values[i], table[6 * 20 + i]);
    EXPECT_EQ(values[20 + i], table[i]);
  }
  Buffer rows = device_.Upload(std::vector<int32_t>{1, 2});
  Buffer z = device_.Upload(std::vector<float>(40));
  ops().Gather(Float32(y, 3, 20), rows.As<int32_t>(), Float32(z, 2, 20));
  const auto gathered = device_.Download<float>(z, 40);
  EXPECT_EQ(gathered[0], values[20]);
  EXPECT_EQ(gathered[20], values[40]);
  Buffer halves = device_.Upload(ToBFloat16(values));
  ops().Gather(BFloat16(halves, 3, 20), rows.As<int32_t>(), BFloat16(z, 2, 20));
  EXPECT_EQ(Values(z, 40)[20], Values(halves, 60)[40]);
}

TEST_P(GpuOpsTest, NormOfShortAndLongRows) {
  for (const int64_t cols : {1, 9, 512, 520, 3001}) {
    const std::vector<float> x = Random(3 * cols, 1), add = Random(3 * cols, 2);
    Buffer weight = device_.Upload(Random(cols, 3));
    const auto weights = device_.Download<float>(weight, cols);
    Buffer xb = device_.Upload(x), ab = device_.Upload(ToBFloat16(add));
    Buffer yb = device_.Upload(std::vector<uint16_t>(static_cast<size_t>(3 * cols)));
    const Tensor delta = BFloat16(ab, 3, cols);
    ops().Norm({.x = Float32(xb, 3, cols),
                .add = &delta,
                .weight = weight.As<float>(),
                .eps = 1e-5f,
                .y = BFloat16(yb, 3, cols)});
    const auto sums = device_.Download<float>(xb, 3 * cols), y = Values(yb, 3 * cols);
    for (int64_t r = 0; r < 3; ++r) {
      double squares = 0;
      for (int64_t i = 0; i < cols; ++i) {
        const auto at = static_cast<size_t>(r * cols + i);
        ASSERT_EQ(sums[at], x[at] + BFloat16ToFloat(FloatToBFloat16(add[at])));
        squares += double{sums[at]} * sums[at];
      }
      for (int64_t i = 0; i < cols; ++i) {
        const auto at = static_cast<size_t>(r * cols + i);
        const double want = sums[at] * weights[static_cast<size_t>(i)] /
                            std::sqrt(squares / static_cast<double>(cols) + 1e-5);
        ASSERT_NEAR(y[at], want, 1e-5 + 0.008 * std::abs(want));
      }
    }
  }
}

TEST_P(GpuOpsTest, QkNormRopeWritesTheCache) {
  constexpr int64_t kTokens = 3;
  constexpr int32_t kHeads = 2, kKvHeads = 1, kSize = 8;
  const int64_t cols = (kHeads + 2 * kKvHeads) * kSize;
  const std::vector<float> qkv = Random(kTokens * cols, 1);
  Buffer qkv_buffer = device_.Upload(ToBFloat16(qkv));
  const std::vector<float> ones(64, 1.0f), zeros(64, 0.0f);
  Buffer cos = device_.Upload(zeros), sin = device_.Upload(ones);  // a quarter turn
  Buffer positions = device_.Upload(std::vector<int32_t>{0, 1, 2});
  Buffer slots = device_.Upload(std::vector<int64_t>{5, -1, 0});
  Buffer memory = device_.Upload(std::vector<uint16_t>(4 * 2 * 2 * kSize));
  const KvCache cache = {.data = memory.data(),
                         .num_blocks = 4,
                         .block_size = 2,
                         .block_stride = 4 * kSize,
                         .head_stride = 4 * kSize,
                         .token_stride = 2 * kSize,
                         .v_offset = kSize};
  ops().QkNormRope({.qkv = BFloat16(qkv_buffer, kTokens, cols),
                    .num_heads = kHeads,
                    .num_kv_heads = kKvHeads,
                    .head_size = kSize,
                    .value_size = kSize,
                    .rope = {cos.As<float>(), sin.As<float>(), 8, kSize},
                    .positions = positions.As<int32_t>(),
                    .cache = &cache,
                    .slot_mapping = slots.As<int64_t>()});
  const auto turned = Values(qkv_buffer, kTokens * cols);
  const auto written = Values(memory, 4 * 2 * 2 * kSize);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(turned[i], -qkv[i + 4]);
    EXPECT_EQ(turned[i + 4], qkv[i]);
    const auto slot = static_cast<size_t>(cache.KOffset(2, 0, 1));
    EXPECT_EQ(written[slot + i], -qkv[kHeads * kSize + i + 4]);
    EXPECT_EQ(written[slot + kSize + i], qkv[(kHeads + kKvHeads) * kSize + i]);
  }
}

TEST_P(GpuOpsTest, ActivateGates) {
  const std::vector<float> x = Random(2 * 24, 1);
  Buffer xb = device_.Upload(ToBFloat16(x)), yb = device_.Upload(std::vector<uint16_t>(24));
  ops().Activate(Activation::kSilu, BFloat16(xb, 2, 24), BFloat16(yb, 2, 12));
  const auto y = Values(yb, 24);
  for (size_t r = 0; r < 2; ++r) {
    for (size_t i = 0; i < 12; ++i) {
      const double gate = x[r * 24 + i];
      EXPECT_NEAR(y[r * 12 + i], gate / (1 + std::exp(-gate)) * x[r * 24 + 12 + i], 0.02);
    }
  }
}

// One row takes another way than several.
// SiLU of the products of Linear(), in float32: what lies between may be rounded to bfloat16.
TEST_P(GpuOpsTest, LinearActivateIsBothOneByOne) {
  struct Case {
    int64_t rows, n, k;
  };
  for (const Case& c : {Case{1, 1, 8},
                        {1, 13, 2050},
                        {1, 40, 4096},
                        {1, 9, 6000},
                        {1, 9, 9000},
                        {2, 13, 72},
                        {2, 9, 6000},
                        {0, 8, 8}}) {
    const std::vector<float> weights = Random(2 * c.n * c.k, 4), x = Random(c.rows * c.k, 5);
    const std::vector<float> bias = Random(2 * c.n, 6);
    const WeightSource source = {.dtype = DType::kFloat32,
                                 .values = weights.data(),
                                 .bias = bias.data(),
                                 .rows = 2 * c.n,
                                 .cols = c.k,
                                 .row_stride = c.k};
    auto packed = ops().Pack({&source, 1}, MatmulMode::kBFloat16);
    ASSERT_TRUE(packed.ok()) << packed.error().message;
    Buffer xb = device_.Upload(ToBFloat16(x));
    Buffer products = device_.Upload(std::vector<float>(static_cast<size_t>(c.rows * 2 * c.n)));
    Buffer yb = device_.Upload(std::vector<uint16_t>(static_cast<size_t>(c.rows * c.n)));
    ops().LinearActivate(**packed, Activation::kSilu, BFloat16(xb, c.rows, c.k),
                         BFloat16(products, c.rows, 2 * c.n), BFloat16(yb, c.rows, c.n));
    const auto y = Values(yb, c.rows * c.n);
    ops().Linear(**packed, BFloat16(xb, c.rows, c.k), Float32(products, c.rows, 2 * c.n));
    const auto linear = device_.Download<float>(products, c.rows * 2 * c.n);
    constexpr double kHalfUnit = 1.0 / 256;                // of bfloat16, relative
    const double order = 2e-7 * static_cast<double>(c.k);  // of sums in float32
    for (int64_t r = 0; r < c.rows; ++r) {
      for (int64_t i = 0; i < c.n; ++i) {
        const double gate = linear[static_cast<size_t>(r * 2 * c.n + i)];
        const double up = linear[static_cast<size_t>(r * 2 * c.n + c.n + i)];
        const double silu = gate / (1 + std::exp(-gate));
        const double gate_error = (c.rows == 1 ? 0 : kHalfUnit * std::abs(gate)) + order;
        const double up_error = (c.rows == 1 ? 0 : kHalfUnit * std::abs(up)) + order;
        // SiLU's slope is below 1.1.
        const double error = 1.1 * gate_error * std::abs(up) + std::abs(silu) * up_error +
                             1.01 * kHalfUnit * std::abs(silu * up) + 1e-6;
        ASSERT_NEAR(y[static_cast<size_t>(r * c.n + i)], silu * up, error)
            << c.rows << " x " << c.n << " x " << c.k << " at " << r << ", " << i;
      }
    }
  }
}

TEST_P(GpuOpsTest, PackRefusesWhatDoesNotFit) {
  const float values[8] = {};
  const WeightSource wide = {
      .dtype = DType::kFloat32, .values = values, .rows = 2, .cols = 4, .row_stride = 4};
  WeightSource narrow = wide;
  narrow.cols = 2;
  EXPECT_FALSE(ops().Pack(std::vector<WeightSource>{wide, narrow}, MatmulMode::kBFloat16).ok());
  EXPECT_FALSE(ops().Pack({}, MatmulMode::kBFloat16).ok());
  WeightSource bytes = wide;
  bytes.dtype = DType::kInt8;
  EXPECT_FALSE(ops().Pack({&bytes, 1}, MatmulMode::kBFloat16).ok());
}

INSTANTIATE_TEST_SUITE_P(Policies, GpuOpsTest, ::testing::ValuesIn(GpuTestDevices()),
                         [](const auto& test) { return test.param; });

TEST(CreateOpsTest, GivesOperationsOfAGpu) {
  auto device = OpenSimtDevice({});
  ASSERT_TRUE(device.ok());
  auto stream = (*device)->NewStream();
  ASSERT_TRUE(stream.ok());
  auto ops = CreateOps(device->get(), stream->get(), nullptr);
  ASSERT_TRUE(ops.ok()) << ops.error().message;
  EXPECT_EQ((*ops)->activation_dtype(), DType::kBFloat16);
}

}  // namespace
}  // namespace tessera
