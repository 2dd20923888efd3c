#include "ops/cpu/gemm.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/memory.h"

namespace tessera {
namespace {

// Rows whose activations, one block deep, stay in a core's second-level cache.
constexpr int64_t kMaxBlockRows = 120;
// So many rows or fewer are prepared once by the caller, not by each worker for itself.
constexpr int64_t kFewRows = 12;
// Columns are divided in multiples of this: two panels.
constexpr int64_t kColumnStep = 2 * PackedMatrix::kPanelWidth;
// What a piece of work should at least be, so that handing it out costs nothing: multiplications
// and bytes of weights.
constexpr double kMinProducts = 4e6;
constexpr double kMinWeightBytes = 64 << 10;

constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How rows and columns are divided among workers.
struct Division {
  int64_t row_blocks = 1;
  int64_t column_blocks = 1;
};

Division Divide(const PackedMatrix& weights, int64_t rows, int64_t tile_rows, int64_t workers) {
  Division division;
  const int64_t columns = weights.out_features();
  const double products = static_cast<double>(rows) * static_cast<double>(columns) *
                          static_cast<double>(weights.in_features());
  const double bytes =
      static_cast<double>(weights.num_panels()) * static_cast<double>(weights.panel_bytes());
  const double pieces = std::max(products / kMinProducts, bytes / kMinWeightBytes);
  const auto wanted =
      static_cast<int64_t>(std::clamp(pieces, 1.0, 8.0 * static_cast<double>(workers)));

  division.row_blocks = CeilDiv(rows, kMaxBlockRows);
  // Whole shares for all workers, if there are rows enough for them.
  if (wanted >= workers && rows >= 2 * tile_rows * workers) {
    division.row_blocks = CeilDiv(division.row_blocks, workers) * workers;
  }
  division.column_blocks =
      std::min(CeilDiv(wanted, division.row_blocks), CeilDiv(columns, kColumnStep));
  return division;
}

}  // namespace

void Gemm(const PackedMatrix& weights, const GemmKernels& kernels, const Tensor& x, const Tensor& y,
          ThreadPool& threads, AlignedBuffer& scratch) {
  const int64_t rows = x.rows, columns = weights.out_features(), depth = weights.in_features();
  if (rows == 0 || columns == 0) return;
  const auto* source = static_cast<const float*>(x.data);
  auto* target = static_cast<float*>(y.data);

  // Blocks of the depth, all but the last of one size; one (of size 0) if there is no input.
  const int64_t depth_blocks = std::max<int64_t>(1, CeilDiv(depth, kBlockDepth));
  const int64_t block_depth = CeilDiv(CeilDiv(depth, depth_blocks), PackedMatrix::kDepthMultiple) *
                              PackedMatrix::kDepthMultiple;
  const int64_t row_bytes = kernels.bfloat16_rows ? kBFloat16RowStride * 2 : kFloatRowStride * 4;
  const auto weight_bytes = static_cast<int64_t>(SizeOf(weights.dtype()));

  const Division division = Divide(weights, rows, kernels.tile_rows, threads.num_threads());
  const int64_t column_steps = CeilDiv(columns, kColumnStep);
  const bool shared = rows <= kFewRows;
  // Kernels may read (but not use) rows up to a whole tile.
  const int64_t block_rows =
      CeilDiv(CeilDiv(rows, division.row_blocks), kernels.tile_rows) * kernels.tile_rows;
  const int64_t scratch_rows = block_rows * (shared ? depth_blocks : threads.num_threads());
  if (scratch.size() < scratch_rows * row_bytes) {
    auto allocated = AlignedBuffer::Allocate(scratch_rows * row_bytes);
    if (!allocated.ok()) throw std::bad_alloc();
    scratch = std::move(allocated).value();
  }
  uint8_t* prepared = scratch.As<uint8_t>();

  auto prepare = [&](int64_t first_row, int64_t count, int64_t depth_block, uint8_t* destination) {
    const int64_t start = depth_block * block_depth;
    const int64_t size = std::min(depth - start, block_depth);
    kernels.prepare(source + first_row * x.stride + start, x.stride, count, size,
                    CeilDiv(size, PackedMatrix::kDepthMultiple) * PackedMatrix::kDepthMultiple,
                    destination);
  };
  if (shared) {
    for (int64_t k = 0; k < depth_blocks; ++k)
      prepare(0, rows, k, prepared + k * block_rows * row_bytes);
  }

  threads.ParallelFor(division.row_blocks * division.column_blocks, [&](int64_t index, int worker) {
    const int64_t row_block = index / division.column_blocks;
    const int64_t column_block = index % division.column_blocks;
    const int64_t first_row = row_block * rows / division.row_blocks;
    const int64_t end_row = (row_block + 1) * rows / division.row_blocks;
    const int64_t first_column = column_block * column_steps / division.column_blocks * kColumnStep;
    const int64_t end_column =
        std::min(columns, (column_block + 1) * column_steps / division.column_blocks * kColumnStep);

    GemmBlock block;
    block.panel_bytes = weights.panel_bytes();
    block.rows = end_row - first_row;
    block.columns = end_column - first_column;
    block.y = target + first_row * y.stride + first_column;
    block.y_stride = y.stride;
    const uint8_t* panel =
        weights.data() + first_column / PackedMatrix::kPanelWidth * weights.panel_bytes();
    for (int64_t k = 0; k < depth_blocks; ++k) {
      const int64_t start = k * block_depth;
      uint8_t* rows_of_block = prepared + k * block_rows * row_bytes;
      if (!shared) {
        rows_of_block = prepared + worker * block_rows * row_bytes;
        prepare(first_row, block.rows, k, rows_of_block);
      }
      block.x = rows_of_block;
      block.depth = std::min(weights.padded_in() - start, block_depth);
      block.weights = panel + start * PackedMatrix::kPanelWidth * weight_bytes;
      block.bias = k == 0 ? weights.bias() + first_column : nullptr;
      kernels.run(block);
    }
  });
}

}  // namespace tessera
