#include "ops/gpu/gpu_matmul.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "ops/gpu/kernels/matmul.h"
#include "ops/gpu/kernels/rows.h"

namespace tessera::ops_gpu {
namespace {

constexpr int64_t kPartialElements = int64_t{4} << 20;
constexpr int64_t kWorkspaceBytes = int64_t{32} << 20;
// Of matmul_one, on each multiprocessor, that fetch before they may begin: with four, all that fit,
// a step of one sequence takes 5 % longer.
constexpr int32_t kEarlyBlocks = 1;
constexpr int64_t kStagingBytes = int64_t{8} << 20;

bool IsAligned16(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }
// Of GpuKernels::matmul.
size_t TypeIndex(DType dtype) {
  return dtype == DType::kFloat32 ? 0 : dtype == DType::kFloat16 ? 1 : 2;
}
int64_t RoundUp(int64_t a, int64_t b) { return (a + b - 1) / b * b; }

Status CheckParts(std::span<const WeightSource> parts) {
  if (parts.empty()) return InvalidArgument("There is no matrix to pack.");
  for (const WeightSource& part : parts) {
    if (part.format != WeightFormat::kDense) {
      return Unsupported("Weights of this format are not supported on GPUs.");
    }
    if (part.dtype != DType::kFloat32 && part.dtype != DType::kFloat16 &&
        part.dtype != DType::kBFloat16) {
      return Unsupported(std::string("Weights of type ") + ToString(part.dtype) +
                         " are not supported on GPUs; convert them to bfloat16.");
    }
    if (part.cols != parts[0].cols || part.dtype != parts[0].dtype) {
      return InvalidArgument(
          "Matrices of different types or numbers of columns do not go together.");
    }
    if (part.rows < 0 || part.cols < 1 || part.row_stride < part.cols) {
      return InvalidArgument("A weight matrix has an impossible shape.");
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<GpuMatmul>> GpuMatmul::Create(GpuDevice* device, GpuStream* stream,
                                                     const GpuKernels* kernels,
                                                     const GpuOpsOptions& options) {
  std::unique_ptr<GpuMatmul> matmul(
      new GpuMatmul(device, stream, kernels, options.batch_invariant));
  TESSERA_ASSIGN_OR_RETURN(
      matmul->partial_,
      device->Allocate(kPartialElements * int64_t{sizeof(float)}, MemoryKind::kDevice));
  const DeviceKind kind = device->info().kind;
  // An emulator of one of these has no native stream: the library would look for the real device.
  if (options.batch_invariant) {
    matmul->library_reason_ = "its sums depend on the number of rows";
  } else if (!options.use_library) {
    matmul->library_reason_ = "TESSERA_BLAS=off";
  } else if (stream->native() == nullptr) {
    matmul->library_reason_ = "the device is emulated";
  } else {
    TESSERA_ASSIGN_OR_RETURN(matmul->workspace_,
                             device->Allocate(kWorkspaceBytes, MemoryKind::kDevice));
    auto loaded = BlasLt::Load(kind, matmul->workspace_.data(), kWorkspaceBytes);
    if (loaded.ok()) {
      matmul->library_ = std::move(*loaded);
    } else {
      matmul->library_reason_ = loaded.error().message;
      matmul->workspace_ = {};
    }
  }
  return matmul;
}

Result<std::unique_ptr<LinearWeights>> GpuMatmul::Pack(std::span<const WeightSource> parts) {
  TESSERA_RETURN_IF_ERROR(CheckParts(parts));
  auto weights = std::make_unique<GpuWeights>();
  weights->dtype = parts[0].dtype;
  weights->cols = parts[0].cols;
  weights->stride = RoundUp(weights->cols, 8);
  bool biased = false;
  for (const WeightSource& part : parts) {
    weights->rows += part.rows;
    biased = biased || part.bias != nullptr;
  }
  const auto element = static_cast<int64_t>(SizeOf(weights->dtype));
  const int64_t row_bytes = weights->stride * element;
  TESSERA_ASSIGN_OR_RETURN(
      weights->values,
      device_->Allocate(std::max<int64_t>(weights->rows * row_bytes, 16), MemoryKind::kDevice));
  std::vector<float> bias(biased ? static_cast<size_t>(weights->rows) : 0);
  // Rows that the source does not have as the device wants them go by way of a piece that has.
  std::vector<char> piece;
  char* to = weights->values.As<char>();
  int64_t first = 0;
  for (const WeightSource& part : parts) {
    const char* from = static_cast<const char*>(part.values);
    if (part.row_stride == weights->stride && part.cols == weights->stride) {
      stream_->Copy(to, from, part.rows * row_bytes);
      to += part.rows * row_bytes;
    } else {
      const int64_t most = std::max<int64_t>(1, kStagingBytes / row_bytes);
      for (int64_t row = 0; row < part.rows; row += most) {
        const int64_t rows = std::min(most, part.rows - row);
        piece.assign(static_cast<size_t>(rows * row_bytes), 0);
        for (int64_t r = 0; r < rows; ++r) {
          std::memcpy(piece.data() + r * row_bytes, from + (row + r) * part.row_stride * element,
                      static_cast<size_t>(part.cols * element));
        }
        stream_->Copy(to, piece.data(), rows * row_bytes);
        to += rows * row_bytes;
      }
    }
    if (part.bias != nullptr) std::copy_n(part.bias, part.rows, bias.begin() + first);
    first += part.rows;
  }
  if (biased && weights->rows > 0) {
    const auto bytes = static_cast<int64_t>(bias.size() * sizeof(float));
    TESSERA_ASSIGN_OR_RETURN(weights->bias, device_->Allocate(bytes, MemoryKind::kDevice));
    stream_->Copy(weights->bias.data(), bias.data(), bytes);
  }
  return std::unique_ptr<LinearWeights>(std::move(weights));
}

void GpuMatmul::Multiply(const GpuWeights& weights, const Tensor& x, const Tensor& y) {
  TESSERA_CHECK(
      x.dtype == DType::kBFloat16 && (y.dtype == DType::kBFloat16 || y.dtype == DType::kFloat32),
      "types of a linear layer's activations on a GPU");
  TESSERA_CHECK(x.rows == y.rows && x.cols == weights.cols && y.cols == weights.rows,
                "shapes of a linear layer");
  if (x.rows == 0 || y.cols == 0) return;
  const bool aligned = IsAligned16(x.data) && x.stride % 8 == 0;
  const int32_t wave = kernels_->matmul[0][0].shape.wave;
  const MatmulChoice choice =
      ChooseMatmul({.rows = x.rows,
                    .n = weights.rows,
                    .k = weights.cols,
                    .units = std::max(1, device_->info().num_units),
                    .library = library_ != nullptr && weights.dtype == DType::kBFloat16 &&
                               aligned && IsAligned16(y.data) && y.stride % 8 == 0,
                    .waves = kMatmulThreads / wave,
                    .partial_elements = kPartialElements,
                    .ordered_parts = ordered_ ? kMatmulThreads / wave : 0});
  if (choice.kernel == MatmulKernel::kLibrary) {
    if (MultiplyByLibrary(weights, x, y)) return;
    return Multiply(weights, x, y);  // there is no library any more
  }
  const MatmulArgs args = ArgsOf(weights, x, y, choice);
  const LaunchableKernel& kernel =
      kernels_->matmul[static_cast<size_t>(choice.kernel)][TypeIndex(weights.dtype)];
  const int64_t waves = kMatmulThreads / kernel.shape.wave;  // of a block
  int64_t blocks = 0;
  switch (choice.kernel) {
    case MatmulKernel::kFew16:
      blocks = (args.n + 15) / 16;
      break;
    case MatmulKernel::kFew32:
      blocks = (args.n + 31) / 32;
      break;
    case MatmulKernel::kOne:
      blocks = (args.n * choice.k_parts + waves - 1) / waves;
      break;
    case MatmulKernel::kTile64:
    case MatmulKernel::kTile64Ordered:
      blocks = ((args.rows + 63) / 64) * ((args.n + 63) / 64);
      break;
    default:
      blocks = ((args.rows + 127) / 128) * ((args.n + 127) / 128);
  }
  LaunchKernel(*stream_, kernel, blocks * choice.splits, args);
  if (choice.splits > 1) {
    LaunchKernel(*stream_, kernels_->matmul_sum_splits,
                 (args.rows * args.n + kMatmulThreads - 1) / kMatmulThreads, args);
  }
}

MatmulArgs GpuMatmul::ArgsOf(const GpuWeights& weights, const Tensor& x, const Tensor& y,
                             const MatmulChoice& choice) const {
  return {.x = static_cast<const uint16_t*>(x.data),
          .w = weights.values.data(),
          .bias = weights.bias.As<const float>(),
          .y = y.data,
          .partial = partial_.As<float>(),
          .x_stride = x.stride,
          .w_stride = weights.stride,
          .y_stride = y.stride,
          .rows = x.rows,
          .n = weights.rows,
          .k = weights.cols,
          .k_per_split = choice.k_per_split,
          .k_per_part = choice.k_per_part,
          .splits = choice.splits,
          .k_parts = choice.k_parts,
          .gated = 0,
          .early_blocks = kEarlyBlocks * std::max(1, device_->info().num_units),
          .x_aligned = IsAligned16(x.data) && x.stride % 8 == 0,
          .y_dtype = static_cast<int32_t>(y.dtype)};
}

bool GpuMatmul::MultiplyGated(const GpuWeights& weights, const Tensor& x, const Tensor& y) {
  const LaunchableKernel& kernel =
      kernels_->matmul[static_cast<size_t>(MatmulKernel::kOne)][TypeIndex(weights.dtype)];
  const int64_t waves = kMatmulThreads / kernel.shape.wave;
  if (ordered_) return false;
  const MatmulChoice choice = ChooseMatmul(
      {.rows = x.rows, .n = weights.rows, .k = weights.cols, .waves = static_cast<int32_t>(waves)});
  // A block must have room for a gate and for what it gates.
  if (choice.kernel != MatmulKernel::kOne || 2 * choice.k_parts > waves) return false;
  TESSERA_CHECK(x.cols == weights.cols && 2 * y.cols == weights.rows && y.rows == 1,
                "shapes of a gated linear layer");
  MatmulArgs args = ArgsOf(weights, x, y, choice);
  args.gated = 1;
  const int64_t columns = waves / choice.k_parts / 2;  // of a block
  LaunchKernel(*stream_, kernel, (y.cols + columns - 1) / columns, args);
  return true;
}

// False if the library refuses: then it is not asked again.
bool GpuMatmul::MultiplyByLibrary(const GpuWeights& weights, const Tensor& x, const Tensor& y) {
  const bool biased = weights.bias.data() != nullptr;
  if (biased) {
    const int64_t parts = (y.cols + kRowPart - 1) / kRowPart;
    LaunchKernel(*stream_, kernels_->fill_bias, y.rows * parts,
                 FillBiasKernelArgs{.bias = weights.bias.As<const float>(),
                                    .y = y.data,
                                    .stride = y.stride,
                                    .cols = y.cols,
                                    .parts = parts,
                                    .dtype = static_cast<int32_t>(y.dtype)});
  }
  const Status status = library_->Multiply({.x = x.data,
                                            .w = weights.values.data(),
                                            .y = y.data,
                                            .rows = x.rows,
                                            .n = weights.rows,
                                            .k = weights.cols,
                                            .x_stride = x.stride,
                                            .w_stride = weights.stride,
                                            .y_stride = y.stride,
                                            .float32_y = y.dtype == DType::kFloat32,
                                            .add = biased},
                                           stream_->native());
  if (status.ok()) return true;
  library_reason_ = status.error().message;
  library_.reset();
  return false;
}

}  // namespace tessera::ops_gpu
