#include "ops/cpu_ops.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "ops/gemm.h"
#include "ops/packed_matrix.h"
#include "ops/vector_ops.h"

namespace tessera {
namespace {

// Elements of a piece of work that is worth a thread.
constexpr int64_t kMinElements = 8192;

float* Row(const MatrixView& matrix, int64_t row) {
  return static_cast<float*>(matrix.data) + row * matrix.stride;
}

void CheckFloat(const MatrixView& matrix) {
  TESSERA_CHECK(matrix.dtype == DType::kFloat32, "activations on the CPU are float32");
}

void CheckSameShape(const MatrixView& x, const MatrixView& y) {
  CheckFloat(x);
  CheckFloat(y);
  TESSERA_CHECK(x.rows == y.rows && x.cols == y.cols, "matrices of different shapes");
}

class CpuOps final : public Ops {
 public:
  CpuOps(ThreadPool* threads, const CpuOpsOptions& options)
      : threads_(*threads),
        bfloat16_(options.native_bfloat16 ? BFloat16Kernels() : GemmKernels()) {}

  Result<std::unique_ptr<PackedLinear>> PackLinear(std::span<const WeightView> weights,
                                                   std::span<const float* const> biases,
                                                   MatmulMode mode) override {
    TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<PackedMatrix> packed,
                             PackedMatrix::Pack(weights, biases, mode, threads_));
    return std::unique_ptr<PackedLinear>(std::move(packed));
  }

  void Linear(const PackedLinear& linear, const MatrixView& x, const MatrixView& y) override {
    const auto& weights = static_cast<const PackedMatrix&>(linear);
    CheckFloat(x);
    CheckFloat(y);
    TESSERA_CHECK(
        x.rows == y.rows && x.cols == weights.in_features() && y.cols == weights.out_features(),
        "shapes of a linear layer");
    const bool native = bfloat16_.run != nullptr && weights.mode() == MatmulMode::kBFloat16 &&
                        weights.dtype() == DType::kBFloat16;
    Gemm(weights, native ? bfloat16_ : Float32Kernels(weights.dtype()), x, y, threads_, scratch_);
  }

  void Embed(const WeightView& table, std::span<const int32_t> ids, const MatrixView& y) override {
    CheckFloat(y);
    const auto element = static_cast<int64_t>(SizeOf(table.dtype));
    ForRows(static_cast<int64_t>(ids.size()), table.in_features, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t id = ids[static_cast<size_t>(i)];
        TESSERA_CHECK(id >= 0 && id < table.out_features, "token id outside of the table");
        ConvertToFloat(table.dtype,
                       static_cast<const uint8_t*>(table.data) + id * table.in_features * element,
                       table.in_features, Row(y, i));
      }
    });
  }

  void EmbedPacked(const PackedLinear& table, std::span<const int32_t> ids,
                   const MatrixView& y) override {
    CheckFloat(y);
    const auto& packed = static_cast<const PackedMatrix&>(table);
    ForRows(static_cast<int64_t>(ids.size()), packed.in_features(),
            [&](int64_t begin, int64_t end) {
              for (int64_t i = begin; i < end; ++i) {
                packed.ReadRow(ids[static_cast<size_t>(i)], Row(y, i));
              }
            });
  }

  void RmsNorm(const MatrixView& x, const float* weight, float eps, const MatrixView& y) override {
    CheckSameShape(x, y);
    Norm({Row(x, 0), x.stride, nullptr, 0, weight, eps, Row(y, 0), y.stride, x.cols}, x.rows);
  }

  void AddRmsNorm(const MatrixView& x, const MatrixView& residual, const float* weight, float eps,
                  const MatrixView& y) override {
    CheckSameShape(x, residual);
    CheckSameShape(x, y);
    Norm({Row(residual, 0), residual.stride, Row(x, 0), x.stride, weight, eps, Row(y, 0), y.stride,
          x.cols},
         x.rows);
  }

  void Add(const MatrixView& x, const MatrixView& y) override {
    CheckSameShape(x, y);
    ForRows(x.rows, x.cols, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) AddRow(Row(x, row), Row(y, row), x.cols);
    });
  }

  void SiluMul(const MatrixView& x, const MatrixView& y) override {
    CheckFloat(x);
    CheckFloat(y);
    TESSERA_CHECK(x.rows == y.rows && x.cols == 2 * y.cols, "shapes of a gated activation");
    // The exponential makes an element worth about eight others.
    ForRows(x.rows, 8 * y.cols, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        SiluMulRow(Row(x, row), Row(x, row) + y.cols, y.cols, Row(y, row));
      }
    });
  }

  void Rope(const RopeTable& table, std::span<const int32_t> positions, const HeadsView& query,
            const HeadsView& key) override {
    const int64_t half = table.rotary_size / 2;
    const int64_t heads = int64_t{query.num_heads} + key.num_heads;
    ForRows(static_cast<int64_t>(positions.size()), heads * table.rotary_size,
            [&](int64_t begin, int64_t end) {
              for (int64_t token = begin; token < end; ++token) {
                const int64_t position = positions[static_cast<size_t>(token)];
                TESSERA_CHECK(position >= 0 && position < table.max_positions,
                              "position outside of the rotary table");
                for (const HeadsView* view : {&query, &key}) {
                  float* head = view->data + token * view->token_stride;
                  for (int32_t h = 0; h < view->num_heads; ++h, head += view->head_size) {
                    RotateHead(table.cos + position * half, table.sin + position * half, half,
                               head);
                  }
                }
              }
            });
  }

 private:
  void Norm(const NormArgs& args, int64_t rows) {
    ForRows(rows, args.cols, [&](int64_t begin, int64_t end) { NormRows(args, begin, end); });
  }

  // function(begin, end) for ranges of rows, on several threads where there is work enough.
  template <typename Function>
  void ForRows(int64_t rows, int64_t elements_per_row, const Function& function) {
    const int64_t most = int64_t{4} * threads_.num_threads();
    const int64_t pieces =
        std::min({rows, most, std::max<int64_t>(1, rows * elements_per_row / kMinElements)});
    threads_.ParallelFor(pieces, [&](int64_t piece, int) {
      function(piece * rows / pieces, (piece + 1) * rows / pieces);
    });
  }

  ThreadPool& threads_;
  const GemmKernels bfloat16_;
  AlignedBuffer scratch_;
};

}  // namespace

std::unique_ptr<Ops> CreateCpuOps(ThreadPool* threads) { return CreateCpuOps(threads, {}); }

std::unique_ptr<Ops> CreateCpuOps(ThreadPool* threads, const CpuOpsOptions& options) {
  return std::make_unique<CpuOps>(threads, options);
}

}  // namespace tessera
