#include "ops/cpu/packed_matrix.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

namespace tessera {
namespace {

// The type that holds all of the matrices without loss.
DType CommonType(std::span<const WeightSource> parts) {
  const DType first = parts.front().dtype;
  const bool same = std::all_of(parts.begin(), parts.end(),
                                [first](const WeightSource& w) { return w.dtype == first; });
  return same && SizeOf(first) == 2 ? first : DType::kFloat32;
}

std::string Shape(const WeightSource& weight) {
  return "[" + std::to_string(weight.rows) + ", " + std::to_string(weight.cols) + "]";
}

}  // namespace

Result<std::unique_ptr<PackedMatrix>> PackedMatrix::Pack(std::span<const WeightSource> parts,
                                                         MatmulMode mode, Device& device,
                                                         ThreadPool& threads) {
  if (parts.empty()) return InvalidArgument("A linear layer needs at least one weight matrix.");
  std::unique_ptr<PackedMatrix> packed(new PackedMatrix);
  packed->in_ = parts.front().cols;
  packed->mode_ = mode;
  packed->dtype_ = CommonType(parts);
  for (const WeightSource& part : parts) {
    if (part.rows < 0 || part.cols < 0) {
      return InvalidArgument("A weight matrix cannot have the shape " + Shape(part) + ".");
    }
    if (part.cols != packed->in_) {
      return InvalidArgument("Weight matrices of the shapes " + Shape(parts.front()) + " and " +
                             Shape(part) + " cannot share an input: their second sizes differ.");
    }
    packed->out_ += part.rows;
  }
  packed->padded_in_ = (packed->in_ + kDepthMultiple - 1) / kDepthMultiple * kDepthMultiple;

  const int64_t panels = packed->num_panels();
  TESSERA_ASSIGN_OR_RETURN(packed->data_,
                           device.Allocate(panels * packed->panel_bytes(), MemoryKind::kDevice));
  TESSERA_ASSIGN_OR_RETURN(
      packed->bias_, device.Allocate(panels * kPanelWidth * static_cast<int64_t>(sizeof(float)),
                                     MemoryKind::kDevice));

  int64_t first = 0;
  for (const WeightSource& part : parts) {
    if (part.bias != nullptr) std::copy_n(part.bias, part.rows, packed->bias_.As<float>() + first);
    // A worker writes whole panels, in order of their memory.
    const int64_t first_panel = first / kPanelWidth;
    const int64_t end = first + part.rows;
    threads.ParallelFor((end + kPanelWidth - 1) / kPanelWidth - first_panel,
                        [&](int64_t index, int) {
                          const int64_t panel_row = (first_panel + index) * kPanelWidth;
                          for (int64_t row = std::max(first, panel_row);
                               row < std::min(end, panel_row + kPanelWidth); ++row) {
                            packed->PackRow(part, row - first, row);
                          }
                        });
    first = end;
  }
  return packed;
}

void PackedMatrix::PackRow(const WeightSource& source, int64_t source_row, int64_t row) {
  if (in_ == 0) return;  // no memory to point into
  const int64_t offset = source_row * source.row_stride;
  const int64_t start = Index(row, 0);
  if (dtype_ == DType::kFloat32) {
    float* target = data_.As<float>() + start;
    for (int64_t i = 0; i < in_; ++i) {
      target[i * kPanelWidth] = LoadAsFloat(source.dtype, source.values, offset + i);
    }
    return;
  }
  uint16_t* target = data_.As<uint16_t>() + start;
  const auto* values = static_cast<const uint16_t*>(source.values) + offset;
  for (int64_t i = 0; i + 1 < in_; i += 2) {
    std::memcpy(target + i * kPanelWidth, values + i, sizeof(uint32_t));
  }
  if (in_ % 2 == 1) target[(in_ - 1) * kPanelWidth] = values[in_ - 1];
}

void PackedMatrix::ReadRow(int64_t row, float* values) const {
  TESSERA_CHECK(row >= 0 && row < out_);
  for (int64_t i = 0; i < in_; ++i) values[i] = LoadAsFloat(dtype_, data_.data(), Index(row, i));
}

}  // namespace tessera
