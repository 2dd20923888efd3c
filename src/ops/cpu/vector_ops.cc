#include "ops/cpu/vector_ops.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/vector_ops.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After foreach_target.h, as it is compiled once per target.
#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::CappedTag<float, 16>;
using OneFloat = hn::CappedTag<float, 1>;

// function(tag, index) for whole vectors, then for the elements that are left.
template <typename Function>
HWY_INLINE void ForEachVector(int64_t count, const Function& function) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Floats()));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) function(Floats(), i);
  for (; i < count; ++i) function(OneFloat(), i);
}

HWY_INLINE float SumOfLanes(hn::Vec<Floats> v) { return hn::GetLane(hn::SumOfLanes(Floats(), v)); }

float SumOfSquares(const float* x, int64_t count) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto a = hn::Zero(d), b = a, c = a, e = a;
  int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    const auto v0 = hn::LoadU(d, x + i), v1 = hn::LoadU(d, x + i + lanes);
    const auto v2 = hn::LoadU(d, x + i + 2 * lanes), v3 = hn::LoadU(d, x + i + 3 * lanes);
    a = hn::MulAdd(v0, v0, a);
    b = hn::MulAdd(v1, v1, b);
    c = hn::MulAdd(v2, v2, c);
    e = hn::MulAdd(v3, v3, e);
  }
  float sum = SumOfLanes(hn::Add(hn::Add(a, b), hn::Add(c, e)));
  for (; i < count; ++i) sum += x[i] * x[i];
  return sum;
}

void AddRowImpl(float* x, const float* y, int64_t count) {
  ForEachVector(count, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, x + i);
  });
}

void NormRowsImpl(const NormRowsArgs& args, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    float* x = args.x + row * args.x_stride;
    float* y = args.y + row * args.y_stride;
    if (args.added != nullptr) AddRowImpl(x, args.added + row * args.added_stride, args.cols);
    const float mean = SumOfSquares(x, args.cols) / static_cast<float>(args.cols);
    const float scale = 1.0f / std::sqrt(mean + args.eps);
    ForEachVector(args.cols, [&](auto d, int64_t i) HWY_ATTR {
      const auto scaled = hn::Mul(hn::LoadU(d, x + i), hn::Set(d, scale));
      hn::StoreU(hn::Mul(scaled, hn::LoadU(d, args.weight + i)), d, y + i);
    });
  }
}

void SiluMulRowImpl(const float* gate, const float* up, int64_t count, float* y) {
  ForEachVector(count, [&](auto d, int64_t i) HWY_ATTR {
    const auto g = hn::LoadU(d, gate + i);
    // Exp() takes no more than 104; there it is infinite already.
    const auto e = hn::Exp(d, hn::Min(hn::Neg(g), hn::Set(d, 104.0f)));
    const auto silu = hn::Div(g, hn::Add(hn::Set(d, 1.0f), e));
    hn::StoreU(hn::Mul(silu, hn::LoadU(d, up + i)), d, y + i);
  });
}

void RotateHeadImpl(const float* cos, const float* sin, int64_t half, float* head) {
  ForEachVector(half, [&](auto d, int64_t i) HWY_ATTR {
    const auto a = hn::LoadU(d, head + i), b = hn::LoadU(d, head + half + i);
    const auto c = hn::LoadU(d, cos + i), s = hn::LoadU(d, sin + i);
    hn::StoreU(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, head + i);
    hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), d, head + half + i);
  });
}

float MaxValueImpl(const float* values, int64_t count) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  auto a = lowest, b = lowest;
  int64_t i = 0;
  // A comparison with NaN is false.
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    const auto v = hn::LoadU(d, values + i), w = hn::LoadU(d, values + i + lanes);
    a = hn::IfThenElse(hn::Gt(v, a), v, a);
    b = hn::IfThenElse(hn::Gt(w, b), w, b);
  }
  float largest = hn::GetLane(hn::MaxOfLanes(d, hn::Max(a, b)));
  for (; i < count; ++i) {
    if (values[i] > largest) largest = values[i];
  }
  return largest;
}

int64_t FindFirstImpl(const float* values, int64_t count, float wanted) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto target = hn::Set(d, wanted);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto found = hn::FindFirstTrue(d, hn::Eq(hn::LoadU(d, values + i), target));
    if (found >= 0) return i + static_cast<int64_t>(found);
  }
  for (; i < count; ++i) {
    if (values[i] == wanted) return i;
  }
  return -1;
}

double ExpSumImpl(const float* values, int64_t count, float shift, float factor, float* out) {
  constexpr int64_t kRun = 4096;
  double sum = 0;
  for (int64_t start = 0; start < count; start += kRun) {
    const float* from = values + start;
    const int64_t size = std::min(kRun, count - start);
    auto lanes_sum = hn::Zero(Floats());
    float rest = 0;
    ForEachVector(size, [&](auto d, int64_t i) HWY_ATTR {
      const auto v = hn::LoadU(d, from + i);
      const auto x = hn::Mul(hn::Sub(v, hn::Set(d, shift)), hn::Set(d, factor));
      const auto e = hn::IfThenElseZero(hn::Eq(v, v), hn::Exp(d, x));
      if (out != nullptr) hn::StoreU(e, d, out + start + i);
      if constexpr (!std::is_same_v<decltype(d), OneFloat> || HWY_TARGET == HWY_SCALAR) {
        lanes_sum = hn::Add(lanes_sum, e);
      } else {
        rest += hn::GetLane(e);
      }
    });
    sum += static_cast<double>(SumOfLanes(lanes_sum)) + static_cast<double>(rest);
  }
  return sum;
}

int64_t CountGreaterImpl(const float* values, int64_t count, float threshold) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto limit = hn::Set(d, threshold);
  int64_t greater = 0, i = 0;
  for (; i + lanes <= count; i += lanes) {
    greater += static_cast<int64_t>(hn::CountTrue(d, hn::Gt(hn::LoadU(d, values + i), limit)));
  }
  for (; i < count; ++i) greater += values[i] > threshold ? 1 : 0;
  return greater;
}

}  // namespace HWY_NAMESPACE
}  // namespace tessera
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tessera {
namespace {

HWY_EXPORT(NormRowsImpl);
HWY_EXPORT(AddRowImpl);
HWY_EXPORT(SiluMulRowImpl);
HWY_EXPORT(RotateHeadImpl);
HWY_EXPORT(MaxValueImpl);
HWY_EXPORT(FindFirstImpl);
HWY_EXPORT(ExpSumImpl);
HWY_EXPORT(CountGreaterImpl);

}  // namespace

void NormRows(const NormRowsArgs& args, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(NormRowsImpl)(args, begin, end);
}

void AddRow(float* x, const float* y, int64_t count) {
  HWY_DYNAMIC_DISPATCH(AddRowImpl)(x, y, count);
}

void SiluMulRow(const float* gate, const float* up, int64_t count, float* y) {
  HWY_DYNAMIC_DISPATCH(SiluMulRowImpl)(gate, up, count, y);
}

void RotateHead(const float* cos, const float* sin, int64_t half, float* head) {
  HWY_DYNAMIC_DISPATCH(RotateHeadImpl)(cos, sin, half, head);
}

float MaxValue(const float* values, int64_t count) {
  return HWY_DYNAMIC_DISPATCH(MaxValueImpl)(values, count);
}

int64_t ArgMax(const float* values, int64_t count) {
  return HWY_DYNAMIC_DISPATCH(FindFirstImpl)(values, count, MaxValue(values, count));
}

double ExpSum(const float* values, int64_t count, float shift, float factor, float* out) {
  return HWY_DYNAMIC_DISPATCH(ExpSumImpl)(values, count, shift, factor, out);
}

int64_t CountGreater(const float* values, int64_t count, float threshold) {
  return HWY_DYNAMIC_DISPATCH(CountGreaterImpl)(values, count, threshold);
}

}  // namespace tessera
#endif  // HWY_ONCE
