#include "model/weights.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

namespace tessera {

WeightLoader::WeightLoader(const Checkpoint* checkpoint, Ops* ops, MatmulMode mode,
                           Progress progress)
    : checkpoint_(checkpoint),
      ops_(ops),
      mode_(mode),
      progress_(std::move(progress)),
      bytes_total_(checkpoint->bytes()) {}

Result<WeightLoader::Found> WeightLoader::Find(const std::string& name,
                                               std::span<const int64_t> shape) const {
  const TensorView* view = checkpoint_->Find(name);
  if (view == nullptr) {
    return NotFound(checkpoint_->path() + " lacks the tensor \"" + name +
                    "\", which config.json asks for: check that both belong together.");
  }
  if (!std::equal(view->shape.begin(), view->shape.end(), shape.begin(), shape.end())) {
    return Corrupt(checkpoint_->path() + ": tensor \"" + name + "\" has the shape " +
                   ShapeToString(view->shape) + ", but config.json asks for " +
                   ShapeToString(shape) + ": check that both belong together.");
  }
  const std::optional<DType> dtype = WeightDType(view->type);
  if (!dtype) {
    return Unsupported(checkpoint_->path() + ": tensor \"" + name + "\" is of type " +
                       ToString(view->type) + "; weights of F32, F16 and BF16 are supported.");
  }
  return Found{view, *dtype};
}

void WeightLoader::Done(const TensorView& view) {
  bytes_done_ += view.bytes;
  if (progress_) progress_(bytes_done_, bytes_total_);
}

Result<WeightView> WeightLoader::Matrix(const std::string& name, int64_t rows, int64_t cols,
                                        std::vector<std::byte>* storage) {
  const std::array<int64_t, 2> shape = {rows, cols};
  TESSERA_ASSIGN_OR_RETURN(const Found found, Find(name, shape));
  const auto [view, dtype] = found;
  const std::byte* data = view->data;
  if (reinterpret_cast<uintptr_t>(data) % SizeOf(dtype) != 0) {
    storage->assign(data, data + view->bytes);
    data = storage->data();
  }
  Done(*view);
  return WeightView{data, dtype, rows, cols};
}

Result<std::vector<float>> WeightLoader::Vector(const std::string& name, int64_t size) {
  const std::array<int64_t, 1> shape = {size};
  TESSERA_ASSIGN_OR_RETURN(const Found found, Find(name, shape));
  const auto [view, dtype] = found;
  std::vector<std::byte> aligned(view->data, view->data + view->bytes);
  std::vector<float> values(static_cast<size_t>(size));
  ConvertToFloat(dtype, aligned.data(), size, values.data());
  Done(*view);
  return values;
}

Result<std::unique_ptr<PackedLinear>> WeightLoader::Linear(std::span<const Part> parts,
                                                           int64_t in_features, bool bias) {
  std::vector<WeightView> weights;
  std::vector<std::vector<std::byte>> copies(parts.size());
  std::vector<std::vector<float>> biases;
  std::vector<const float*> bias_pointers;
  for (const Part& part : parts) {
    if (const TensorView* view = checkpoint_->Find(part.prefix + ".weight")) {
      Checkpoint::Prefetch(*view);
    }
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string bias_name = parts[i].prefix + ".bias";
    TESSERA_ASSIGN_OR_RETURN(
        WeightView weight,
        Matrix(parts[i].prefix + ".weight", parts[i].out_features, in_features, &copies[i]));
    weights.push_back(weight);
    if (bias) {
      TESSERA_ASSIGN_OR_RETURN(std::vector<float> values, Vector(bias_name, parts[i].out_features));
      biases.push_back(std::move(values));
    } else if (checkpoint_->Find(bias_name) != nullptr) {
      return Unsupported(checkpoint_->path() + " has the tensor \"" + bias_name +
                         "\", but config.json asks for no bias there: check that both belong "
                         "together.");
    }
  }
  for (const std::vector<float>& values : biases) bias_pointers.push_back(values.data());
  auto packed = ops_->PackLinear(weights, bias_pointers, mode_);
  for (const Part& part : parts) Checkpoint::Release(*checkpoint_->Find(part.prefix + ".weight"));
  return packed;
}

}  // namespace tessera
