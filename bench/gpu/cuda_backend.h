// The portable kernel's mma instances on an NVIDIA GPU, behind the Backend interface: a host
// program's stand-in until the engine has CUDA devices. Everything is copied to the device and back
// for each run, so it serves for checking results, not for speed.
#pragma once

#include <memory>

#include "tessera/backend.h"

namespace tessera {

std::unique_ptr<Backend> CreateCudaCheckBackend(const BackendContext& context);

// Milliseconds (median of `repeats`) of one call over a cache of pages of 16 tokens, heads 32/8 of
// 128, bfloat16, blocks in random order.
struct CudaTiming {
  double milliseconds = 0;
  double bytes = 0;  // keys and values read once
  double flops = 0;  // both products, causal
};
CudaTiming TimeCudaAttention(int32_t sequences, int32_t query_len, int32_t seq_len, int repeats);

// GB/s of reading a large buffer once.
double CudaReadBandwidth();

}  // namespace tessera
