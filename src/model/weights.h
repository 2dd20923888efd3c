// Typed access to a checkpoint's tensors for the code that loads a model: every shape is checked
// against what the configuration asks for, and consumed file pages are released (MADV_DONTNEED).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/safetensors.h"
#include "ops/ops.h"
#include "tessera/result.h"

namespace tessera {

// Not thread-safe.
class WeightLoader {
 public:
  using Progress = std::function<void(int64_t, int64_t)>;

  // All of them outlive the loader.
  WeightLoader(const Checkpoint* checkpoint, Device* device, Ops* ops, MatmulMode mode,
               Progress progress);

  // One matrix of a fused linear layer.
  struct Part {
    std::string
        prefix;  // "model.layers.0.mlp.up_proj": PREFIX.weight and, with a bias, PREFIX.bias
    int64_t out_features = 0;
  };

  // Packs matrices [out_features, in_features] over one input as one; without `bias` a bias in the
  // file is an error, because ignoring it would change the model.
  Result<std::unique_ptr<LinearWeights>> Linear(std::span<const Part> parts, int64_t in_features,
                                                bool bias);

  // A vector of `size` elements as float32, on the device.
  Result<Buffer> Vector(const std::string& name, int64_t size);

  // The matrix [rows, cols] as a table for Ops::Embed.
  Result<std::unique_ptr<LinearWeights>> Table(const std::string& name, int64_t rows, int64_t cols);

 private:
  // The tensor, of a type and shape as asked for.
  struct Found {
    const TensorView* view = nullptr;
    DType dtype = DType::kFloat32;
  };
  Result<Found> Find(const std::string& name, std::span<const int64_t> shape) const;
  Result<std::vector<float>> Floats(const std::string& name, int64_t size);
  // The matrix [rows, cols] where it lies in the file's map, or at an odd address in `*storage`.
  Result<WeightSource> Matrix(const std::string& name, int64_t rows, int64_t cols,
                              std::vector<std::byte>* storage);
  void Done(const TensorView& view);

  const Checkpoint* checkpoint_;
  Device* device_;
  Ops* ops_;
  MatmulMode mode_;
  Progress progress_;
  int64_t bytes_done_ = 0;
  int64_t bytes_total_ = 0;
};

}  // namespace tessera
