// What the mathematics of attention (attention_math.inl) asks of a machine: operations on numbers,
// or on vectors of them, lane by lane. The end of the softmax is mostly computed by single numbers,
// so two functions are not asked of every machine: OutputFactor() needs DivOrZero() as well, and
// Lse() needs Log2().
#pragma once

#include <cstdint>

#include "attention/kernel/key_range.h"

namespace tessera::kernel {

inline constexpr float kLog2e = 1.44269504088896340736f;
inline constexpr float kLn2 = 0.69314718055994530942f;

template <class T>
concept NumberOps =
    requires(typename T::Float x, typename T::Int i, const float* table, float number) {
      T::Set(number), T::SetInt(int32_t{});  // the same in every lane
      T::Add(x, x), T::Sub(x, x), T::Mul(x, x);
      T::MulAdd(x, x, x), T::MulSub(x, x, x);  // a * b + c, a * b - c
      T::Max(x, x);                            // of NaN and a number: either
      T::Exp2(x), T::Tanh(x), T::Sqrt(x);      // 2^-infinity is 0; NaN stays
      T::SubInt(i, i), T::ToFloat(i);
      T::Select(T::InRange(i, i, i), x, x);  // begin <= i < end ? x : y
      T::Select(T::Equal(x, x), x, x);
      T::Gather(table, i, int32_t{});  // table[i] where 0 <= i < count, 0 elsewhere
      number = T::kMinusInfinity;
    };

// Single numbers, but for the functions that a machine computes its own way.
template <class Number>
struct SingleOps {
  using Float = Number;
  using Int = int32_t;
  static constexpr Number kMinusInfinity = -__builtin_inff();

  TESSERA_HOST_DEVICE static Number Set(Number x) { return x; }
  TESSERA_HOST_DEVICE static int32_t SetInt(int32_t i) { return i; }
  TESSERA_HOST_DEVICE static Number Add(Number a, Number b) { return a + b; }
  TESSERA_HOST_DEVICE static Number Sub(Number a, Number b) { return a - b; }
  TESSERA_HOST_DEVICE static Number Mul(Number a, Number b) { return a * b; }
  // No Select(): GPUs divide in a branch, whose registers kernels do not have to spare.
  TESSERA_HOST_DEVICE static Number DivOrZero(Number a, Number b) { return b != 0 ? a / b : 0; }
  TESSERA_HOST_DEVICE static Number MulAdd(Number a, Number b, Number c) { return a * b + c; }
  TESSERA_HOST_DEVICE static Number MulSub(Number a, Number b, Number c) { return a * b - c; }
  TESSERA_HOST_DEVICE static Number Max(Number a, Number b) { return b > a ? b : a; }
  TESSERA_HOST_DEVICE static int32_t SubInt(int32_t a, int32_t b) { return a - b; }
  TESSERA_HOST_DEVICE static Number ToFloat(int32_t i) { return static_cast<Number>(i); }
  TESSERA_HOST_DEVICE static bool InRange(int32_t i, int32_t begin, int32_t end) {
    return i >= begin && i < end;
  }
  TESSERA_HOST_DEVICE static bool Equal(Number a, Number b) { return a == b; }
  TESSERA_HOST_DEVICE static Number Select(bool condition, Number a, Number b) {
    return condition ? a : b;
  }
  TESSERA_HOST_DEVICE static Number Gather(const float* table, int32_t i, int32_t count) {
    return i >= 0 && i < count ? table[i] : 0;
  }
};

}  // namespace tessera::kernel
