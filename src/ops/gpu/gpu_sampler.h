// Chooses tokens on a GPU: what Ops::Sample() and Sampled() do, in the steps that a graph wants
// apart. Chooses what ops/cpu/sampler.h chooses, but for rounding: where two tokens' weights, or a
// draw and the border between two tokens, differ by less than the last bits.
//
// Every row is chosen on the device. Limits, which fail the step: 2^20 tokens of a vocabulary,
// kMaxTop alternatives of a row.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "device/gpu/gpu_device.h"
#include "ops/gpu/gpu_kernels.h"
#include "ops/gpu/kernels/sample.h"
#include "ops/ops.h"
#include "tessera/device.h"
#include "tessera/result.h"

namespace tessera::ops_gpu {

class GpuSampler {
 public:
  static Result<std::unique_ptr<GpuSampler>> Create(GpuDevice* device, GpuStream* stream,
                                                    const GpuKernels* kernels);

  // Queues the upload of a step. Reads `batch` before it returns; allocates if the step is larger
  // than any before. Must not be recorded.
  Status Prepare(const SamplingBatch& batch, int64_t vocabulary);

  // Queues the kernels for the prepared step: launches alone, which can be recorded. A graph can be
  // replayed for another step that has been prepared if plan() and version() are the same.
  void Launch(const Tensor& logits, int32_t* token_ids);

  // Queues the way back of the step's results. Must not be recorded.
  void Fetch();

  // Waits for the oldest step that was fetched and not collected, at most kSteps ago.
  Result<std::vector<Result<SampledToken>>> Collect();

  // Which kernels the prepared step needs, and for how many rows.
  struct Plan {
    int32_t rows = 0;
    bool edits = false;  // of logits, which are undone
    bool logprobs = false;
    int32_t top = 0;  // alternatives, at most
    bool operator==(const Plan&) const = default;
  };
  const Plan& plan() const { return steps_[current_].plan; }
  // Changes if buffers have moved.
  int64_t version() const { return version_; }

  static constexpr int kSteps = 2;  // fetched and not collected

 private:
  struct Step {
    Plan plan;
    int64_t vocabulary = 0;
    Buffer upload;   // pinned
    Buffer results;  // pinned: SampleResult [rows], TopToken [rows, top]
    std::unique_ptr<Stream> fetch;
    std::vector<std::optional<Error>> errors;  // by row
    std::vector<int32_t> logprobs;             // by row: alternatives asked for, < 0: none at all
    bool pending = false;
  };

  GpuSampler(GpuDevice* device, GpuStream* stream, const GpuKernels* kernels)
      : device_(device), stream_(stream), kernels_(kernels) {}
  Status Reserve(Buffer* buffer, int64_t bytes, MemoryKind kind);
  Status FillUpload(const SamplingBatch& batch, Step* step);
  int32_t Chunks(int64_t vocabulary) const {
    return static_cast<int32_t>((vocabulary + kChunk - 1) / kChunk);
  }

  GpuDevice* const device_;
  GpuStream* const stream_;
  const GpuKernels* const kernels_;
  std::array<Step, kSteps> steps_;
  size_t current_ = 0;  // the prepared one
  int64_t version_ = 0;

  Buffer upload_, saved_, stats_, original_stats_, results_, top_;
};

}  // namespace tessera::ops_gpu
