#include "model/model.h"

#include <string>
#include <utility>
#include <vector>

#include "base/memory.h"
#include "model/families/llama.h"
#include "model/rope.h"
#include "model/safetensors.h"

namespace tessera {
namespace {

using LoadFamily = Result<std::unique_ptr<Model>> (*)(const ModelConfig&, Checkpoint, Ops*,
                                                      const ModelOptions&, int64_t);

struct Family {
  const char* architecture;
  LoadFamily load;
  std::vector<AttentionSpec> (*layer_specs)(const ModelConfig&, DType);
};

constexpr Family kFamilies[] = {
    {"LlamaForCausalLM", &LlamaModel::Load, &LlamaModel::LayerSpecs},
    {"MistralForCausalLM", &LlamaModel::Load, &LlamaModel::LayerSpecs},
};

Result<const Family*> FindFamily(const ModelConfig& config) {
  for (const Family& family : kFamilies) {
    if (config.architecture == family.architecture) return &family;
  }
  return Internal("no model family takes the architecture " + config.architecture +
                  ", although its configuration was read.");
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
Status CheckMemory(const Checkpoint& checkpoint) {
  const int64_t available = AvailableMemoryBytes();  // 0: unknown
  if (available <= 0 || checkpoint.bytes() <= available) return {};
  return OutOfMemory("the weights of " + checkpoint.path() + " take " +
                     std::to_string(checkpoint.bytes()) + " bytes of memory, but only " +
                     std::to_string(available) +
                     " are available: free memory, or choose a model below that size.");
}

}  // namespace

Result<std::vector<AttentionSpec>> LoadLayerSpecs(const std::string& directory, DType dtype) {
  TESSERA_RETURN_IF_ERROR(CheckDType(dtype));
  TESSERA_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(directory));
  TESSERA_ASSIGN_OR_RETURN(const Family* family, FindFamily(config));
  return family->layer_specs(config, dtype);
}

Result<std::unique_ptr<Model>> LoadModel(const std::string& directory, Ops* ops,
                                         const ModelOptions& options) {
  TESSERA_RETURN_IF_ERROR(CheckDType(options.dtype));
  TESSERA_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(directory));
  TESSERA_ASSIGN_OR_RETURN(const int64_t length, MaxModelLength(config, options.max_model_len));
  TESSERA_ASSIGN_OR_RETURN(const Family* family, FindFamily(config));
  TESSERA_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(directory));
  TESSERA_RETURN_IF_ERROR(CheckMemory(checkpoint));
  return family->load(config, std::move(checkpoint), ops, options, length);
}

}  // namespace tessera
