#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "ops/gpu/kernels/matmul_few.h"
#include "ops/gpu/kernels/matmul_one.h"
#include "ops/gpu/kernels/matmul_tile.h"
#include "ops/gpu/testing.h"

namespace tessera::ops_gpu {
namespace {

enum class Kernel { kFew16, kFew32, kTile64, kTile128, kTile64Ordered, kTile128Ordered, kOne };

template <class P, DType kWeight>
void Run(Kernel kernel, const MatmulArgs& args) {
  const auto emulate = [&](int64_t tiles, void (*body)(const MatmulArgs&)) {
    Emulate(tiles * args.splits, kMatmulThreads, P::WAVE, [&] { body(args); });
  };
  switch (kernel) {
    case Kernel::kFew16:
      return emulate(CeilDiv(args.n, 16), &MatmulFewBlock<P, kWeight, 16>);
    case Kernel::kFew32:
      return emulate(CeilDiv(args.n, 32), &MatmulFewBlock<P, kWeight, 32>);
    case Kernel::kTile64:
      return emulate(CeilDiv(args.rows, 64) * CeilDiv(args.n, 64),
                     &MatmulTileBlock<P, kWeight, SmallTile<P, kWeight>()>);
    case Kernel::kTile128:
      return emulate(CeilDiv(args.rows, 128) * CeilDiv(args.n, 128),
                     &MatmulTileBlock<P, kWeight, BigTile<P, kWeight>()>);
    case Kernel::kTile64Ordered:
      return emulate(CeilDiv(args.rows, 64) * CeilDiv(args.n, 64),
                     &MatmulTileBlock<P, kWeight, Ordered(SmallTile<P, kWeight>())>);
    case Kernel::kTile128Ordered:
      return emulate(CeilDiv(args.rows, 128) * CeilDiv(args.n, 128),
                     &MatmulTileBlock<P, kWeight, Ordered(BigTile<P, kWeight>())>);
    case Kernel::kOne:
      return emulate(CeilDiv(args.n * args.k_parts, kMatmulThreads / P::WAVE),
                     &MatmulOneBlock<kWeight, P::WAVE>);
  }
}

template <class P>
void RunType(DType weight, Kernel kernel, const MatmulArgs& args) {
  if (weight == DType::kBFloat16) return Run<P, DType::kBFloat16>(kernel, args);
  if (weight == DType::kFloat16) return Run<P, DType::kFloat16>(kernel, args);
  Run<P, DType::kFloat32>(kernel, args);
}

void RunPolicy(const std::string& policy, DType weight, Kernel kernel, const MatmulArgs& args) {
  if (policy == "mma") return RunType<kernel::MmaM16N8K16>(weight, kernel, args);
  if (policy == "mfma") return RunType<kernel::Mfma16x16x16>(weight, kernel, args);
  if (policy == "wmma11") return RunType<kernel::WmmaReplicated>(weight, kernel, args);
  RunType<kernel::Wmma16x16x16>(weight, kernel, args);
}

struct Case {
  int64_t rows, n, k;
  int32_t splits = 1;
  int64_t k_per_split = 0;  // 0: all of k
  bool aligned = true;      // x
  bool bias = false;
  DType y = DType::kBFloat16;
  DType weight = DType::kBFloat16;
  int32_t k_parts = 1;
  int64_t k_per_part = 0;
};

std::string Describe(const std::string& policy, Kernel kernel, const Case& c) {
  return policy + " kernel " + std::to_string(static_cast<int>(kernel)) + " rows " +
         std::to_string(c.rows) + " n " + std::to_string(c.n) + " k " + std::to_string(c.k) +
         " weight " + ToString(c.weight);
}

// x with NaN between and past its rows, W padded with zeros.
struct Operands {
  explicit Operands(const Case& c)
      : x(DType::kBFloat16, c.rows, c.k, c.aligned ? CeilDiv(c.k, 8) * 8 + 8 : c.k + 1),
        w(c.weight, c.n, CeilDiv(c.k, 8) * 8, CeilDiv(c.k, 8) * 8),
        y(c.y, c.rows, c.n, c.n + (c.n % 3)),
        bias(RandomFloats(c.n, 9)) {
    x.Fill(1);
    w.Fill(2);
    for (int64_t i = 0; i < c.n; ++i) {
      for (int64_t j = c.k; j < w.cols; ++j) w.Set(i, j, 0.0f);
    }
    partial.assign(static_cast<size_t>(c.splits * c.rows * c.n), kNan);
  }
  MatmulArgs Args(const Case& c) {
    return {.x = static_cast<const uint16_t*>(x.data()),
            .w = w.data(),
            .bias = c.bias ? bias.data() : nullptr,
            .y = y.data(),
            .partial = partial.data(),
            .x_stride = x.stride,
            .w_stride = w.stride,
            .y_stride = y.stride,
            .rows = c.rows,
            .n = c.n,
            .k = c.k,
            .k_per_split = c.k_per_split > 0 ? c.k_per_split : CeilDiv(c.k, 128) * 128,
            .k_per_part = c.k_per_part,
            .splits = c.splits,
            .k_parts = c.k_parts,
            .gated = 0,
            .early_blocks = 1,
            .x_aligned = c.aligned,
            .y_dtype = static_cast<int32_t>(c.y)};
  }
  HostMatrix x, w, y;
  std::vector<float> bias, partial;
};

void Multiply(const std::string& policy, DType weight, Kernel kernel, const MatmulArgs& args) {
  RunPolicy(policy, weight, kernel, args);
  if (args.splits == 1) return;
  Emulate(CeilDiv(args.rows * args.n, kMatmulThreads), kMatmulThreads, 32,
          [&] { SumSplitsBlock(args); });
}

void Expect(const std::string& policy, Kernel kernel, const Case& c) {
  Operands o(c);
  const MatmulArgs args = o.Args(c);
  Multiply(policy, c.weight, kernel, args);
  for (int64_t r = 0; r < c.rows; ++r) {
    for (int64_t i = 0; i < c.n; ++i) {
      double want = c.bias ? o.bias[static_cast<size_t>(i)] : 0.0, size = 1e-30;
      for (int64_t j = 0; j < c.k; ++j) {
        want += double{o.x.At(r, j)} * o.w.At(i, j);
        size += std::abs(double{o.x.At(r, j)} * o.w.At(i, j));
      }
      const double tolerance =
          size * 3e-5 + (c.y == DType::kBFloat16 ? std::abs(want) * 0x1p-8 : 0.0);
      ASSERT_NEAR(o.y.At(r, i), want, tolerance)
          << Describe(policy, kernel, c) << " at " << r << ", " << i;
    }
    for (int64_t i = c.n; i < o.y.stride; ++i) ASSERT_TRUE(std::isnan(o.y.At(r, i)));
  }
}

const std::string kPolicies[] = {"mma", "mfma", "wmma", "wmma11"};

TEST(MatmulKernels, FewRowsOfAnyShape) {
  const Case cases[] = {
      {1, 1, 1, 1, 0, false},
      {1, 16, 32},
      {16, 40, 128, 1, 0, true, true},
      {3, 7, 5, 1, 0, false, true, DType::kFloat32},
      {8, 33, 1027, 1, 0, false, true, DType::kFloat32},
      {9, 50, 1000, 3, 384, true, true},
      {16, 17, 700, 4, 256, true, false, DType::kFloat32},  // the last split has nothing
      {5, 31, 300, 1, 0, true, true, DType::kFloat32, DType::kFloat16},
      {2, 20, 77, 1, 0, false, false, DType::kBFloat16, DType::kFloat16},
      {16, 31, 300, 2, 256, true, true, DType::kFloat32, DType::kFloat32},
      {2, 20, 77, 1, 0, false, false, DType::kBFloat16, DType::kFloat32}};
  for (const std::string& policy : kPolicies) {
    for (const Case& c : cases) {
      for (const Kernel kernel : {Kernel::kFew16, Kernel::kFew32}) Expect(policy, kernel, c);
    }
  }
}

TEST(MatmulKernels, OneRowOfAnyShape) {
  const Case cases[] = {
      {1, 1, 1, 1, 0, false},
      {1, 16, 32},
      {1, 33, 1027, 1, 0, false, true, DType::kFloat32},
      {1, 9, 2048, 1, 0, true, true},
      {1, 20, 4100, 1, 0, true, false, DType::kFloat32},
      {1, 31, 300, 1, 0, true, true, DType::kFloat32, DType::kFloat16},
      {1, 20, 77, 1, 0, false, false, DType::kBFloat16, DType::kFloat32},
      {1, 9, 2048, 1, 1024, true, true, DType::kFloat32, DType::kBFloat16, 2},
      {1, 7, 3000, 1, 1024, false, true, DType::kFloat32, DType::kBFloat16, 4},
      {1, 5, 600, 1, 512, true, false, DType::kFloat32, DType::kFloat16, 4}};  // two have nothing
  for (const std::string& policy : kPolicies) {
    for (const Case& c : cases) Expect(policy, Kernel::kOne, c);
  }
}

TEST(MatmulKernels, ManyRowsOfAnyShape) {
  const Case cases[] = {{1, 1, 1, 1, 0, false},
                        {17, 40, 128, 1, 0, true, true},
                        {65, 129, 72, 1, 0, true, true},
                        {130, 130, 99, 1, 0, false, true, DType::kFloat32},
                        {64, 67, 515, 3, 256, true, true},
                        {33, 64, 300, 2, 256, true, true, DType::kFloat32, DType::kFloat16},
                        {20, 31, 77, 1, 0, false, false, DType::kBFloat16, DType::kFloat32}};
  for (const std::string& policy : kPolicies) {
    for (const Case& c : cases) {
      for (const Kernel kernel : {Kernel::kTile64, Kernel::kTile128}) Expect(policy, kernel, c);
    }
  }
  Expect("mma", Kernel::kTile64, {64 * 17, 65, 8});  // a second group of tiles
}

TEST(MatmulKernels, OrderedSumsOfAnyShape) {
  const Case cases[] = {{.rows = 9, .n = 50, .k = 1000, .k_per_part = 256},
                        {.rows = 16, .n = 40, .k = 77, .aligned = false, .k_per_part = 128}};
  const Case many[] = {
      {.rows = 65, .n = 129, .k = 515, .aligned = false, .bias = true, .k_per_part = 128},
      {.rows = 20,
       .n = 67,
       .k = 300,
       .y = DType::kFloat32,
       .weight = DType::kFloat16,
       .k_per_part = 256},
      {.rows = 33,
       .n = 64,
       .k = 300,
       .splits = 3,
       .k_per_split = 128,
       .bias = true,
       .weight = DType::kFloat32,
       .k_per_part = 128}};
  for (const std::string& policy : kPolicies) {
    for (const Case& c : cases) {
      for (const Kernel kernel : {Kernel::kFew16, Kernel::kFew32}) Expect(policy, kernel, c);
    }
    for (const Case& c : many) {
      for (const Kernel kernel : {Kernel::kTile64Ordered, Kernel::kTile128Ordered}) {
        Expect(policy, kernel, c);
      }
    }
  }
}

// Ordered sums are the same bits in every kernel, and however k is split.
TEST(MatmulKernels, OrderedSumsAreOneSum) {
  struct Way {
    Kernel kernel;
    int32_t splits;
  };
  for (const std::string& policy : kPolicies) {
    const int waves = policy == "mfma" ? 4 : 8;
    for (const DType weight : {DType::kBFloat16, DType::kFloat32}) {
      for (const int64_t k : {int64_t{90}, int64_t{700}, int64_t{waves} * 128 + 128 * 3 - 8}) {
        Case c{.rows = 11, .n = 40, .k = k, .bias = true, .y = DType::kFloat32, .weight = weight};
        c.k_per_part = CeilDiv(CeilDiv(k, waves), 128) * 128;
        std::vector<float> first;
        for (const Way& way :
             {Way{Kernel::kFew16, 1},
              {Kernel::kFew32, 1},
              {Kernel::kTile64Ordered, 1},
              {Kernel::kTile128Ordered, 1},
              {Kernel::kTile64Ordered, static_cast<int32_t>(CeilDiv(k, c.k_per_part))}}) {
          c.splits = way.splits;
          c.k_per_split = way.splits > 1 ? c.k_per_part : 0;
          Operands o(c);
          Multiply(policy, weight, way.kernel, o.Args(c));
          std::vector<float> sums;
          for (int64_t r = 0; r < c.rows; ++r) {
            for (int64_t i = 0; i < c.n; ++i) sums.push_back(o.y.At(r, i));
          }
          if (first.empty()) first = sums;
          ASSERT_EQ(sums, first) << Describe(policy, way.kernel, c) << " splits " << way.splits;
        }
      }
    }
  }
}

// A row alone, and among others that are NaN: not a bit changes.
TEST(MatmulKernels, RowDoesNotDependOnOthers) {
  for (const std::string& policy : kPolicies) {
    for (const Kernel kernel : {Kernel::kFew32, Kernel::kTile64, Kernel::kTile128}) {
      const Case among = {.rows = 13, .n = 48, .k = 384, .y = DType::kFloat32};
      Case alone = among;
      alone.rows = 1;
      Operands o(among), p(alone);
      for (int64_t j = 0; j < among.k; ++j) {
        for (int64_t r = 0; r < among.rows; ++r) {
          if (r != 5) o.x.Set(r, j, kNan);
        }
        p.x.Set(0, j, o.x.At(5, j));
      }
      RunPolicy(policy, among.weight, kernel, o.Args(among));
      RunPolicy(policy, alone.weight, kernel, p.Args(alone));
      for (int64_t i = 0; i < among.n; ++i) ASSERT_EQ(o.y.At(5, i), p.y.At(0, i)) << policy;
    }
  }
}

}  // namespace
}  // namespace tessera::ops_gpu
