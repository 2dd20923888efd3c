// Matrices of weights in a GPU's memory, and products with them: by the vendor's library or our own
// kernels, as ChooseMatmul() has it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "device/gpu/gpu_device.h"
#include "ops/gpu/blas_lt.h"
#include "ops/gpu/gpu_kernels.h"
#include "ops/gpu/gpu_ops.h"
#include "ops/gpu/matmul_choice.h"
#include "ops/ops.h"
#include "tessera/device.h"
#include "tessera/result.h"

namespace tessera::ops_gpu {

// [rows, cols] row by row, rows padded with zeros to a multiple of 8 elements.
class GpuWeights final : public LinearWeights {
 public:
  int64_t in_features() const override { return cols; }
  int64_t out_features() const override { return rows; }
  int64_t bytes() const override { return values.bytes() + bias.bytes(); }

  Buffer values;
  Buffer bias;  // float32 [rows]; empty: none
  DType dtype = DType::kBFloat16;
  int64_t rows = 0, cols = 0, stride = 0;
};

struct MatmulArgs;

class GpuMatmul {
 public:
  // Loads the vendor's library if the options want it and there is one; why not, says
  // library_reason().
  static Result<std::unique_ptr<GpuMatmul>> Create(GpuDevice* device, GpuStream* stream,
                                                   const GpuKernels* kernels,
                                                   const GpuOpsOptions& options);

  Result<std::unique_ptr<LinearWeights>> Pack(std::span<const WeightSource> parts);
  void Multiply(const GpuWeights& weights, const Tensor& x, const Tensor& y);
  // y[j] = silu(gate[j]) * value[j], of which x W^T + b has the gates first. False if no kernel
  // does that in one pass: then nothing was done.
  bool MultiplyGated(const GpuWeights& weights, const Tensor& x, const Tensor& y);

  const std::string& library_reason() const { return library_reason_; }

 private:
  GpuMatmul(GpuDevice* device, GpuStream* stream, const GpuKernels* kernels, bool ordered)
      : device_(device), stream_(stream), kernels_(kernels), ordered_(ordered) {}
  MatmulArgs ArgsOf(const GpuWeights& weights, const Tensor& x, const Tensor& y,
                    const MatmulChoice& choice) const;
  bool MultiplyByLibrary(const GpuWeights& weights, const Tensor& x, const Tensor& y);

  GpuDevice* const device_;
  GpuStream* const stream_;
  const GpuKernels* const kernels_;
  const bool ordered_;  // sums
  Buffer partial_;      // sums of parts of k
  Buffer workspace_;
  std::unique_ptr<BlasLt> library_;
  std::string library_reason_;
};

}  // namespace tessera::ops_gpu
