#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>

#include "engine/engine_parts.h"
#include "tessera/device.h"
#include "tessera/plugin.h"

namespace tessera {
namespace {

Result<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& directory) {
  std::error_code ignored;
  const auto path = std::filesystem::path(directory) / "tokenizer.json";
  if (!std::filesystem::exists(path, ignored)) return std::unique_ptr<Tokenizer>();
  return Tokenizer::Load(directory);
}

// "cuda:1": under which name a device is compared with another.
std::string DeviceId(const std::string& name, const DeviceInfo& info) {
  const std::string id = name == "auto" ? ToString(info.kind) : name;
  return id == "cuda" || id == "hip" ? id + ":0" : id;
}

// What comes before the weights, so that a choice that cannot serve is refused at once.
Result<EngineParts> ChooseParts(const EngineOptions& options) {
  TESSERA_ASSIGN_OR_RETURN(const std::vector<BackendEntry> plugins,
                           LoadBackendPlugins(options.attention_plugins));
  EngineParts parts;
  ThreadPool::Options pool;
  pool.num_threads = options.num_threads;
  parts.threads = std::make_unique<ThreadPool>(pool);
  std::string device_choice;
  TESSERA_ASSIGN_OR_RETURN(parts.device, OpenDevice(options.device, &device_choice));
  if (!device_choice.empty()) parts.notes.push_back("Device: " + device_choice);
  TESSERA_ASSIGN_OR_RETURN(parts.stream, parts.device->NewStream());
  TESSERA_ASSIGN_OR_RETURN(parts.ops,
                           CreateOps(parts.device.get(), parts.stream.get(), parts.threads.get(),
                                     {.batch_invariant = options.batch_invariant}));

  const DType activations = parts.ops->activation_dtype();
  if (parts.device->info().kind != DeviceKind::kCpu && options.dtype != activations) {
    parts.notes.push_back(std::string("Dtype: ") + parts.device->info().name + " computes in " +
                          ToString(activations) + "; " + ToString(options.dtype) +
                          " is that of the KV cache alone.");
  }
  TESSERA_ASSIGN_OR_RETURN(
      const std::vector<AttentionSpec> specs,
      LoadLayerSpecs(options.model_directory, options.dtype, parts.ops->activation_dtype()));
  parts.groups = GroupLayers(specs);
  BackendContext context;
  context.device = parts.device.get();
  context.threads = parts.threads.get();
  for (AttentionSpec& spec : parts.groups.specs) spec.batch_invariant = options.batch_invariant;
  parts.select_attention = [context, plugins, specs = parts.groups.specs,
                            block_size = options.block_size](size_t kind,
                                                             const std::string& backend) {
    return SelectBackend({backend, specs.at(kind), block_size, plugins}, context);
  };
  for (size_t kind = 0; kind < parts.groups.specs.size(); ++kind) {
    TESSERA_ASSIGN_OR_RETURN(Selection selection,
                             parts.select_attention(kind, options.attention_backend));
    parts.selections.push_back(std::move(selection));
  }
  return parts;
}

// Those of an engine that takes over from a lost device.
EngineOptions FallbackOptions(const EngineOptions& options) {
  EngineOptions fallback = options;
  fallback.device = options.fallback_device;
  fallback.fallback_device.clear();
  fallback.progress = nullptr;  // which is of the start
  return fallback;
}

// Fails if the fallback device is not another one than `device`, or could not serve the model.
Status CheckFallback(const EngineOptions& options, const DeviceInfo& device) {
  const std::string& name = options.fallback_device;
  if (name == "auto") {
    return InvalidArgument("fallback_device is auto; name the device, as cpu or cuda:1.");
  }
  if (DeviceId(name, device) == DeviceId(options.device, device)) {
    return InvalidArgument("fallback_device is " + name +
                           ", on which the model runs already; name another device, or none.");
  }
  const auto parts = ChooseParts(FallbackOptions(options));
  if (parts.ok()) return {};
  return Error{parts.error().code,
               "The fallback device " + name + " cannot serve: " + parts.error().message};
}

}  // namespace

int32_t MaxLogitRows(const EngineOptions& options, int64_t vocab_size) {
  constexpr int64_t kLogitBytes = 64 << 20;
  const int64_t running = std::min(options.max_running, options.max_batch_tokens);
  const int64_t rows = kLogitBytes / (vocab_size * static_cast<int64_t>(sizeof(float)));
  return static_cast<int32_t>(
      std::clamp<int64_t>(rows, running, std::max<int64_t>(running, options.max_batch_tokens)));
}

Result<EngineParts> LoadEngineParts(const EngineOptions& options) {
  TESSERA_RETURN_IF_ERROR(CheckOptions(options));
  const auto report = [&options](int64_t done, int64_t total) {
    if (options.progress) options.progress("weights", done, total);
  };
  TESSERA_ASSIGN_OR_RETURN(EngineParts parts, ChooseParts(options));
  if (!options.fallback_device.empty()) {
    TESSERA_RETURN_IF_ERROR(CheckFallback(options, parts.device->info()));
    parts.notes.push_back("Fallback: " + options.fallback_device +
                          " takes over if the device is lost");
    parts.load_fallback = [fallback = FallbackOptions(options)] {
      return LoadEngineParts(fallback);
    };
  }
  TESSERA_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(options.model_directory));
  ModelOptions model;
  model.max_batch_tokens = options.max_batch_tokens;
  model.max_logit_rows = MaxLogitRows(options, config.vocab_size);
  model.dtype = options.dtype;
  model.max_model_len = options.max_model_len;
  model.progress = report;
  TESSERA_ASSIGN_OR_RETURN(
      parts.model, LoadModel(options.model_directory, parts.device.get(), parts.ops.get(), model));
  TESSERA_ASSIGN_OR_RETURN(parts.tokenizer, LoadTokenizer(options.model_directory));
  parts.available_bytes = parts.device->free_bytes();
  return parts;
}

}  // namespace tessera
