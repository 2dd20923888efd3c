// Typed access to a checkpoint's tensors for the code that loads a model: every shape is checked
// against what the configuration asks for, and memory that was read is given back.
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

  // `ops` and `checkpoint` outlive the loader.
  WeightLoader(const Checkpoint* checkpoint, Ops* ops, MatmulMode mode, Progress progress);

  // One matrix of a fused linear layer.
  struct Part {
    std::string
        prefix;  // "model.layers.0.mlp.up_proj": PREFIX.weight and, with a bias, PREFIX.bias
    int64_t out_features = 0;
  };

  // Packs matrices [out_features, in_features] over one input as one; without `bias` a bias in the
  // file is an error, because ignoring it would change the model.
  Result<std::unique_ptr<PackedLinear>> Linear(std::span<const Part> parts, int64_t in_features,
                                               bool bias);

  // A vector of `size` elements as float32.
  Result<std::vector<float>> Vector(const std::string& name, int64_t size);

  // The matrix [rows, cols] where it lies in the checkpoint's map, which must then outlive it; at
  // an odd address it is copied to `*storage`.
  Result<WeightView> Matrix(const std::string& name, int64_t rows, int64_t cols,
                            std::vector<std::byte>* storage);

 private:
  // The tensor, of a type and shape as asked for.
  struct Found {
    const TensorView* view = nullptr;
    DType dtype = DType::kFloat32;
  };
  Result<Found> Find(const std::string& name, std::span<const int64_t> shape) const;
  void Done(const TensorView& view);

  const Checkpoint* checkpoint_;
  Ops* ops_;
  MatmulMode mode_;
  Progress progress_;
  int64_t bytes_done_ = 0;
  int64_t bytes_total_ = 0;
};

}  // namespace tessera
