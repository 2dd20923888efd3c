// The kernels of GPUs' operations, found in the modules of the build.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "device/gpu/gpu_device.h"
#include "ops/gpu/matmul_choice.h"
#include "tessera/dtype.h"
#include "tessera/result.h"

namespace tessera::ops_gpu {

// A kernel and what it is launched with, but for the number of blocks.
struct LaunchableKernel {
  GpuKernel kernel;
  LaunchShape shape;
};

struct GpuKernels {
  // All of them, for the device's matrix instructions.
  static Result<std::unique_ptr<GpuKernels>> Load(GpuDevice* device);

  std::vector<std::unique_ptr<GpuModule>> modules;
  LaunchableKernel norm_block, norm_wave, qk_norm_rope, activate, gather, fill_bias, resolve_ids;
  // By MatmulKernel, then by the type of the weights: float32, float16, bfloat16.
  std::array<std::array<LaunchableKernel, 3>, kMatmulKernels> matmul;
  LaunchableKernel matmul_sum_splits;
  LaunchableKernel sample_stats, sample_original_stats, sample_edit, sample_restore;
  LaunchableKernel sample_choose, sample_logprobs;
};

template <class Args>
void LaunchKernel(GpuStream& stream, const LaunchableKernel& kernel, int64_t blocks,
                  const Args& args) {
  LaunchShape shape = kernel.shape;
  shape.blocks = blocks;
  stream.Launch(kernel.kernel, shape, args);
}

}  // namespace tessera::ops_gpu
