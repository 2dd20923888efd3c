// The one packed form of a weight matrix, which every matrix kernel reads.
//
// W [out, in] is cut into panels of 32 outputs. A panel of a 16-bit type is [in / 2][32][2]: two
// consecutive inputs lie beside each other, as bfloat16 dot products and AMX tiles want them, and
// as a shift and a mask turn into float32. A panel of float32 is [in][32]. `in` is padded to a
// multiple of kDepthMultiple and `out` to one of 32, with zeros.
#pragma once

#include <cstdint>
#include <span>

#include "ops/cpu/cpu_weights.h"
#include "ops/ops.h"
#include "tessera/device.h"
#include "tessera/thread_pool.h"

namespace tessera {

class PackedMatrix final : public CpuWeights {
 public:
  static constexpr int64_t kPanelWidth = 32;
  static constexpr int64_t kDepthMultiple = 32;  // inputs of one AMX tile

  // See Ops::Pack, in memory of `device`, which the caller has opened. Matrices of one type keep
  // it; if float32 is among several types all become float32, and so do types of 8 bits.
  static Result<std::unique_ptr<PackedMatrix>> Pack(std::span<const WeightSource> parts,
                                                    MatmulMode mode, Device& device,
                                                    ThreadPool& threads);

  int64_t in_features() const override { return in_; }
  int64_t out_features() const override { return out_; }
  int64_t bytes() const override { return data_.bytes() + bias_.bytes(); }

  DType dtype() const { return dtype_; }
  MatmulMode mode() const { return mode_; }
  int64_t padded_in() const { return padded_in_; }
  int64_t num_panels() const { return (out_ + kPanelWidth - 1) / kPanelWidth; }
  int64_t panel_bytes() const {
    return padded_in_ * kPanelWidth * static_cast<int64_t>(SizeOf(dtype_));
  }
  const uint8_t* data() const { return data_.As<uint8_t>(); }
  // [num_panels * 32], zero if there is none.
  const float* bias() const { return bias_.As<float>(); }

  void ReadRow(int64_t row, float* values) const override;

 private:
  PackedMatrix() = default;

  // The position of element (row, column) among those of data().
  int64_t Index(int64_t row, int64_t column) const {
    const int64_t panel = row / kPanelWidth, lane = row % kPanelWidth;
    const int64_t start = panel * padded_in_ * kPanelWidth;
    if (dtype_ == DType::kFloat32) return start + column * kPanelWidth + lane;
    return start + (column / 2 * kPanelWidth + lane) * 2 + column % 2;
  }
  void PackRow(const WeightSource& source, int64_t source_row, int64_t row);

  DType dtype_ = DType::kFloat32;
  MatmulMode mode_ = MatmulMode::kFloat32;
  int64_t in_ = 0;
  int64_t out_ = 0;
  int64_t padded_in_ = 0;
  Buffer data_;
  Buffer bias_;
};

}  // namespace tessera
