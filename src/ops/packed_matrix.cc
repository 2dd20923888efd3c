#include "ops/packed_matrix.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

namespace tessera {
namespace {

// The type that holds all of the matrices without loss.
DType CommonType(std::span<const WeightView> weights) {
  const DType first = weights.front().dtype;
  const bool same = std::all_of(weights.begin(), weights.end(),
                                [first](const WeightView& w) { return w.dtype == first; });
  return same && SizeOf(first) == 2 ? first : DType::kFloat32;
}

std::string Shape(const WeightView& weight) {
  return "[" + std::to_string(weight.out_features) + ", " + std::to_string(weight.in_features) +
         "]";
}

}  // namespace

Result<std::unique_ptr<PackedMatrix>> PackedMatrix::Pack(std::span<const WeightView> weights,
                                                         std::span<const float* const> biases,
                                                         MatmulMode mode, ThreadPool& threads) {
  if (weights.empty()) return InvalidArgument("A linear layer needs at least one weight matrix.");
  if (!biases.empty() && biases.size() != weights.size()) {
    return InvalidArgument("A linear layer of " + std::to_string(weights.size()) +
                           " matrices cannot take " + std::to_string(biases.size()) +
                           " biases; give one entry for each matrix, or none.");
  }
  std::unique_ptr<PackedMatrix> packed(new PackedMatrix);
  packed->in_ = weights.front().in_features;
  packed->mode_ = mode;
  packed->dtype_ = CommonType(weights);
  for (const WeightView& weight : weights) {
    if (weight.out_features < 0 || weight.in_features < 0) {
      return InvalidArgument("A weight matrix cannot have the shape " + Shape(weight) + ".");
    }
    if (weight.in_features != packed->in_) {
      return InvalidArgument("Weight matrices of the shapes " + Shape(weights.front()) + " and " +
                             Shape(weight) + " cannot share an input: their second sizes differ.");
    }
    packed->out_ += weight.out_features;
  }
  packed->padded_in_ = (packed->in_ + kDepthMultiple - 1) / kDepthMultiple * kDepthMultiple;

  const int64_t panels = packed->num_panels();
  TESSERA_ASSIGN_OR_RETURN(packed->data_, AlignedBuffer::Allocate(panels * packed->panel_bytes()));
  TESSERA_ASSIGN_OR_RETURN(
      packed->bias_,
      AlignedBuffer::Allocate(panels * kPanelWidth * static_cast<int64_t>(sizeof(float))));

  int64_t first = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const WeightView& weight = weights[i];
    if (!biases.empty() && biases[i] != nullptr) {
      std::copy_n(biases[i], weight.out_features, packed->bias_.As<float>() + first);
    }
    // A worker writes whole panels, in order of their memory.
    const int64_t first_panel = first / kPanelWidth;
    const int64_t end = first + weight.out_features;
    threads.ParallelFor((end + kPanelWidth - 1) / kPanelWidth - first_panel,
                        [&](int64_t index, int) {
                          const int64_t panel_row = (first_panel + index) * kPanelWidth;
                          for (int64_t row = std::max(first, panel_row);
                               row < std::min(end, panel_row + kPanelWidth); ++row) {
                            packed->PackRow(weight, row - first, row);
                          }
                        });
    first = end;
  }
  return packed;
}

void PackedMatrix::PackRow(const WeightView& source, int64_t source_row, int64_t row) {
  if (in_ == 0) return;  // no memory to point into
  const int64_t offset = source_row * in_;
  const int64_t start = Index(row, 0);
  if (dtype_ == DType::kFloat32) {
    float* target = data_.As<float>() + start;
    for (int64_t i = 0; i < in_; ++i) {
      target[i * kPanelWidth] = LoadAsFloat(source.dtype, source.data, offset + i);
    }
    return;
  }
  uint16_t* target = data_.As<uint16_t>() + start;
  const auto* values = static_cast<const uint16_t*>(source.data) + offset;
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
