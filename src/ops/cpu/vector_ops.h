// Row operations in float32, vectorised; the caller divides rows among threads. A row's result does
// not depend on its neighbours. NaN spreads to what is computed from it.
#pragma once

#include <cstdint>

#include "ops/ops.h"

namespace tessera {

// Rows [begin, end) of y = RmsNorm(x) * weight. With `added` the rows of x first become x + added
// (Ops::Norm with `add`: x is the residual).
struct NormRowsArgs {
  float* x = nullptr;
  int64_t x_stride = 0;
  const float* added = nullptr;
  int64_t added_stride = 0;
  const float* weight = nullptr;
  float eps = 0;
  float* y = nullptr;
  int64_t y_stride = 0;
  int64_t cols = 0;
};
void NormRows(const NormRowsArgs& args, int64_t begin, int64_t end);

// x[0, count) += y.
void AddRow(float* x, const float* y, int64_t count);

// y[i] = silu(gate[i]) * up[i]; silu within 3 units in the last place. y may be `gate`.
void SiluMulRow(const float* gate, const float* up, int64_t count, float* y);

// One head: pairs (i, i + half) rotated by (cos[i], sin[i]).
void RotateHead(const float* cos, const float* sin, int64_t half, float* head);

// The largest value that is not NaN; -infinity if there is none.
float MaxValue(const float* values, int64_t count);

// The first index of MaxValue(); -1 if all are NaN.
int64_t ArgMax(const float* values, int64_t count);

// out[i] = exp((values[i] - shift) * factor), 0 for NaN; returns their sum (float32 sums of a
// vector's lanes, which become float64 every 4,096 values). `out` may be null, or `values`.
double ExpSum(const float* values, int64_t count, float shift, float factor, float* out);

// How many values are greater than `threshold`.
int64_t CountGreater(const float* values, int64_t count, float threshold);

}  // namespace tessera
