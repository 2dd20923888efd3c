#include <cstddef>
#include <cstring>
#include <utility>

#include "ops/cpu/cpu_weights.h"

namespace tessera {
namespace {

class RowTable final : public CpuWeights {
 public:
  RowTable(const WeightSource& table, Buffer data)
      : dtype_(table.dtype), rows_(table.rows), cols_(table.cols), data_(std::move(data)) {
    const size_t row_bytes = static_cast<size_t>(cols_) * SizeOf(dtype_);
    if (row_bytes == 0) return;
    const auto* source = static_cast<const std::byte*>(table.values);
    const size_t stride = static_cast<size_t>(table.row_stride) * SizeOf(dtype_);
    for (int64_t row = 0; row < rows_; ++row) {
      std::memcpy(data_.As<std::byte>() + static_cast<size_t>(row) * row_bytes,
                  source + static_cast<size_t>(row) * stride, row_bytes);
    }
  }

  int64_t in_features() const override { return cols_; }
  int64_t out_features() const override { return rows_; }
  int64_t bytes() const override { return data_.bytes(); }

  void ReadRow(int64_t row, float* values) const override {
    TESSERA_CHECK(row >= 0 && row < rows_, "token id outside of the table");
    ConvertToFloat(dtype_,
                   data_.As<std::byte>() + row * cols_ * static_cast<int64_t>(SizeOf(dtype_)),
                   cols_, values);
  }

 private:
  const DType dtype_;
  const int64_t rows_;
  const int64_t cols_;
  const Buffer data_;
};

}  // namespace

Result<std::unique_ptr<CpuWeights>> MakeRowTable(const WeightSource& table, Device& device) {
  const int64_t bytes = table.rows * table.cols * static_cast<int64_t>(SizeOf(table.dtype));
  TESSERA_ASSIGN_OR_RETURN(Buffer data, device.Allocate(bytes, MemoryKind::kDevice));
  return std::unique_ptr<CpuWeights>(std::make_unique<RowTable>(table, std::move(data)));
}

}  // namespace tessera
