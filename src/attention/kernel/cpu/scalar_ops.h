// Single numbers of a host, and the mathematics of attention on them.
#pragma once

#include <cmath>
#include <cstdint>

#include "attention/kernel/item_rows.h"
#include "attention/kernel/ops.h"

namespace tessera::kernel {

template <class Number>
struct HostOps : SingleOps<Number> {
  static Number Exp2(Number x) { return std::exp2(x); }
  static Number Log2(Number x) { return std::log2(x); }
  static Number Tanh(Number x) { return std::tanh(x); }
  static Number Sqrt(Number x) { return std::sqrt(x); }
};
using ScalarOps = HostOps<float>;
static_assert(NumberOps<ScalarOps>);

namespace scalar {
#define TESSERA_FN inline
#include "attention/kernel/attention_math.inl"
#undef TESSERA_FN
}  // namespace scalar

}  // namespace tessera::kernel
