#include "model/weights.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

namespace tessera {

WeightLoader::WeightLoader(const Checkpoint* checkpoint, Device* device, Ops* ops, MatmulMode mode,
                           Progress progress)
    : checkpoint_(checkpoint),
      device_(device),
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

Result<WeightSource> WeightLoader::Matrix(const std::string& name, int64_t rows, int64_t cols,
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
  return WeightSource{
      .dtype = dtype, .values = data, .rows = rows, .cols = cols, .row_stride = cols};
}

Result<std::vector<float>> WeightLoader::Floats(const std::string& name, int64_t size) {
  const std::array<int64_t, 1> shape = {size};
  TESSERA_ASSIGN_OR_RETURN(const Found found, Find(name, shape));
  const auto [view, dtype] = found;
  std::vector<std::byte> aligned(view->data, view->data + view->bytes);
  std::vector<float> values(static_cast<size_t>(size));
  ConvertToFloat(dtype, aligned.data(), size, values.data());
  Done(*view);
  return values;
}

Result<Buffer> WeightLoader::Vector(const std::string& name, int64_t size) {
  TESSERA_ASSIGN_OR_RETURN(const std::vector<float> values, Floats(name, size));
  const int64_t bytes = size * static_cast<int64_t>(sizeof(float));
  TESSERA_ASSIGN_OR_RETURN(Buffer buffer, device_->Allocate(bytes, MemoryKind::kDevice));
  ops_->stream().Copy(buffer.data(), values.data(), bytes);
  return buffer;
}

Result<std::unique_ptr<LinearWeights>> WeightLoader::Table(const std::string& name, int64_t rows,
                                                           int64_t cols) {
  std::vector<std::byte> storage;
  TESSERA_ASSIGN_OR_RETURN(const WeightSource table, Matrix(name, rows, cols, &storage));
  auto packed = ops_->PackTable(table);
  Checkpoint::Release(*checkpoint_->Find(name));
  return packed;
}

Result<std::unique_ptr<LinearWeights>> WeightLoader::Linear(std::span<const Part> parts,
                                                            int64_t in_features, bool bias) {
  std::vector<WeightSource> weights;
  std::vector<std::vector<std::byte>> copies(parts.size());
  std::vector<std::vector<float>> biases(parts.size());
  for (const Part& part : parts) {
    if (const TensorView* view = checkpoint_->Find(part.prefix + ".weight")) {
      Checkpoint::Prefetch(*view);
    }
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string bias_name = parts[i].prefix + ".bias";
    TESSERA_ASSIGN_OR_RETURN(
        WeightSource weight,
        Matrix(parts[i].prefix + ".weight", parts[i].out_features, in_features, &copies[i]));
    if (bias) {
      TESSERA_ASSIGN_OR_RETURN(biases[i], Floats(bias_name, parts[i].out_features));
      weight.bias = biases[i].data();
    } else if (checkpoint_->Find(bias_name) != nullptr) {
      return Unsupported(checkpoint_->path() + " has the tensor \"" + bias_name +
                         "\", but config.json asks for no bias there: check that both belong "
                         "together.");
    }
    weights.push_back(weight);
  }
  auto packed = ops_->Pack(weights, mode_);
  for (const Part& part : parts) Checkpoint::Release(*checkpoint_->Find(part.prefix + ".weight"));
  return packed;
}

}  // namespace tessera
