#include "ops/gpu/matmul_choice.h"

#include <algorithm>

namespace tessera::ops_gpu {
namespace {

constexpr int64_t kSplitUnit = 128;  // what k_per_split is a multiple of
constexpr int64_t kLeastSplit = 512;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Divides k so that `wanted` blocks have work, if that many fit.
MatmulChoice Split(MatmulKernel kernel, const MatmulShape& shape, int64_t blocks, int64_t wanted,
                   int64_t most) {
  int64_t splits = std::min(CeilDiv(wanted, std::max<int64_t>(blocks, 1)), most);
  splits = std::clamp<int64_t>(splits, 1, std::max<int64_t>(1, shape.k / kLeastSplit));
  const int64_t part = CeilDiv(CeilDiv(shape.k, splits), kSplitUnit) * kSplitUnit;
  return {kernel, static_cast<int32_t>(std::max<int64_t>(1, CeilDiv(shape.k, part))), part};
}

// The parts of k depend on k alone, so that every choice gives the same sums.
MatmulChoice ChooseOrdered(const MatmulShape& shape) {
  const auto round_up = [](int64_t k) { return CeilDiv(k, kSplitUnit) * kSplitUnit; };
  const int64_t part = round_up(CeilDiv(shape.k, shape.ordered_parts));
  MatmulChoice choice{.splits = 1, .k_per_split = round_up(shape.k), .k_per_part = part};
  if (shape.rows <= kStreamedRows) {
    const bool wide = shape.n >= int64_t{64} * shape.units;
    choice.kernel = wide ? MatmulKernel::kFew32 : MatmulKernel::kFew16;
    return choice;
  }
  choice.kernel = MatmulKernel::kTile128Ordered;
  const int64_t big = CeilDiv(shape.rows, 128) * CeilDiv(shape.n, 128);
  if (big >= shape.units && shape.rows > 64) return choice;
  choice.kernel = MatmulKernel::kTile64Ordered;
  const int64_t small = CeilDiv(shape.rows, 64) * CeilDiv(shape.n, 64);
  const int64_t parts = CeilDiv(shape.k, part);
  if (small < shape.units && parts * shape.rows * shape.n <= shape.partial_elements) {
    choice.splits = static_cast<int32_t>(parts);
    choice.k_per_split = part;
  }
  return choice;
}

}  // namespace

MatmulChoice ChooseMatmul(const MatmulShape& shape) {
  if (shape.ordered_parts > 0) return ChooseOrdered(shape);
  constexpr int64_t kMostSplits = 16;
  if (shape.rows == 1) {
    // About eight loads for each lane; parts are multiples of what a wave of 64 lanes reads.
    constexpr int64_t kPart = 2048, kUnit = 512;
    int32_t parts = 1;
    while (parts < shape.waves && parts * kPart < shape.k) parts *= 2;
    const int64_t part = CeilDiv(CeilDiv(shape.k, parts), kUnit) * kUnit;
    return {MatmulKernel::kOne, 1, std::max(part, kUnit), parts};
  }
  // On an H200 cuBLASLt is a fifth faster than our kernel for 2 to 16 rows.
  if (shape.library) return {MatmulKernel::kLibrary, 1, shape.k};
  if (shape.rows <= kStreamedRows) {
    const int64_t blocks = CeilDiv(shape.n, 16);
    // Two blocks a multiprocessor keep enough bytes under way. The split depends on n and k alone.
    const int64_t room = shape.partial_elements / std::max<int64_t>(1, kStreamedRows * shape.n);
    const bool wide = shape.n >= int64_t{64} * shape.units;
    return Split(wide ? MatmulKernel::kFew32 : MatmulKernel::kFew16, shape, blocks,
                 blocks < shape.units ? int64_t{2} * shape.units : 1, std::min(kMostSplits, room));
  }
  const int64_t big = CeilDiv(shape.rows, 128) * CeilDiv(shape.n, 128);
  if (big >= shape.units && shape.rows > 64) return Split(MatmulKernel::kTile128, shape, big, 1, 1);
  const int64_t small = CeilDiv(shape.rows, 64) * CeilDiv(shape.n, 64);
  const int64_t room = shape.partial_elements / std::max<int64_t>(1, shape.rows * shape.n);
  return Split(MatmulKernel::kTile64, shape, small, shape.units, std::min(kMostSplits, room));
}

}  // namespace tessera::ops_gpu
