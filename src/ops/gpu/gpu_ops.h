// The operations on a GPU: our own kernels (src/ops/gpu/kernels), and the vendor's matrix library
// if it can be loaded (cuBLASLt, hipBLASLt; TESSERA_BLAS=off does without).
//
// Activations are bfloat16 and sums float32 in either MatmulMode; weights of float16 and float32
// are not rounded to bfloat16 (ops/gpu/kernels/matmul.h), and always our own kernels' work. Nothing
// allocates or waits between the calls of a step, but for Sample() in a step that is larger than
// any before. All calls but Pack, PackTable, PrepareSample, FetchSamples, Sample and Sampled can be
// recorded in a graph.
//
// Batch invariance: a row's result depends on that row alone, except that linear layers choose
// their kernel by the number of rows (ops/gpu/matmul_choice.h; from 2 to 16 rows it is one kernel),
// and a vendor's library has choices of its own. With `batch_invariant` they depend on nothing
// else either: only our own kernels serve, with ordered sums (ops/gpu/kernels/matmul.h).
#pragma once

#include <memory>

#include "device/gpu/gpu_device.h"
#include "ops/ops.h"

namespace tessera {

struct GpuOpsOptions {
  bool use_library = true;  // for matrices
  bool batch_invariant = false;
};

// Ops, and the parts of Sample() for those who record the middle one. Sample() is PrepareSample(),
// LaunchSample() and FetchSamples(). Sampled() returns the oldest of the latest two steps that has
// not been returned yet: if one step is under way, the latest.
class GpuOps : public Ops {
 public:
  // Uploads a step's rows: not recorded.
  virtual Status PrepareSample(const SamplingBatch& batch, int64_t vocabulary) = 0;
  // Launches of kernels alone, for the step that was prepared. A recorded one serves every prepared
  // step with the same sample_key().
  virtual void LaunchSample(const Tensor& logits, int32_t* token_ids) = 0;
  // Queues the way back of the results: not recorded.
  virtual void FetchSamples() = 0;
  // What LaunchSample() depends on, of the step that was prepared.
  struct SampleKey {
    int32_t rows = 0;
    bool edits = false;
    bool logprobs = false;
    int32_t top = 0;
    int64_t version = 0;  // of the buffers
    bool operator==(const SampleKey&) const = default;
  };
  virtual SampleKey sample_key() const = 0;
  // Why products are not the library's; empty: they are.
  virtual const std::string& library_reason() const = 0;
};

Result<std::unique_ptr<GpuOps>> CreateGpuOps(GpuDevice* device, GpuStream* stream,
                                             const GpuOpsOptions& options = {});

}  // namespace tessera
