#include "model/model.h"

#include <string>
#include <utility>
#include <vector>

#include "model/families/families.h"
#include "model/rope.h"
#include "model/safetensors.h"

namespace tessera {
namespace {

Result<const Family*> FamilyOf(const ModelConfig& config) {
  if (const Family* family = FindFamily(config.architecture)) return family;
  return Internal("no model family takes the architecture " + config.architecture +
                  ", although its configuration was read.");
}

// float16 weights and sums have no faster form on a CPU than float32.
MatmulMode ModeOf(DType dtype) {
  return dtype == DType::kBFloat16 ? MatmulMode::kBFloat16 : MatmulMode::kFloat32;
}

Status CheckDType(DType dtype) {
  if (dtype == DType::kFloat32 || dtype == DType::kBFloat16 || dtype == DType::kFloat16) return {};
  return InvalidArgument(std::string("the model cannot run in ") + ToString(dtype) +
                         "; choose float32, bfloat16 or float16.");
}

Result<int64_t> MaxModelLength(const ModelConfig& config, int64_t asked) {
  if (asked == 0) return config.max_position_embeddings;
  const int64_t limit = MaxSupportedLength(config.rope, config.max_position_embeddings);
  if (asked < 0 || asked > limit) {
    return InvalidArgument("the maximum length of " + std::to_string(asked) +
                           " tokens is outside what the model was made for: give 1 to " +
                           std::to_string(limit) + ", or 0 for its own limit.");
  }
  return asked;
}

// The weights are repacked in their own types: they take what they take in the files.
Status CheckMemory(const Checkpoint& checkpoint, const Device& device) {
  const int64_t available = device.free_bytes();  // 0: unknown
  if (available <= 0 || checkpoint.bytes() <= available) return {};
  return OutOfMemory("the weights of " + checkpoint.path() + " take " +
                     std::to_string(checkpoint.bytes()) + " bytes of memory, but on " +
                     device.info().name + " only " + std::to_string(available) +
                     " are available: free memory, or choose a model below that size.");
}

}  // namespace

Result<std::vector<AttentionSpec>> LoadLayerSpecs(const std::string& directory, DType cache_dtype,
                                                  DType activation_dtype) {
  TESSERA_RETURN_IF_ERROR(CheckDType(cache_dtype));
  TESSERA_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(directory));
  TESSERA_ASSIGN_OR_RETURN(const Family* family, FamilyOf(config));
  return family->layer_specs(config, cache_dtype, activation_dtype);
}

Result<std::unique_ptr<Model>> LoadModel(const std::string& directory, Device* device, Ops* ops,
                                         const ModelOptions& options) {
  TESSERA_RETURN_IF_ERROR(CheckDType(options.dtype));
  TESSERA_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(directory));
  TESSERA_ASSIGN_OR_RETURN(const int64_t length, MaxModelLength(config, options.max_model_len));
  TESSERA_ASSIGN_OR_RETURN(const Family* family, FamilyOf(config));
  TESSERA_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(directory));
  TESSERA_RETURN_IF_ERROR(CheckMemory(checkpoint, *device));
  WeightLoader loader(&checkpoint, device, ops, ModeOf(options.dtype), options.progress);
  TESSERA_ASSIGN_OR_RETURN(
      Decoder decoder,
      family->describe(config, family->layer_specs(config, options.dtype, ops->activation_dtype()),
                       loader));
  TESSERA_RETURN_IF_ERROR(ops->stream().Synchronize());  // the file's map ends here
  return MakeDecoderModel(config, std::move(decoder), device, ops, options, length);
}

}  // namespace tessera
