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

}  // namespace

int32_t MaxLogitRows(const EngineOptions& options, int64_t vocab_size) {
  constexpr int64_t kLogitBytes = 64 << 20;
  const int64_t running = std::min(options.max_running, options.max_batch_tokens);
  const int64_t rows = kLogitBytes / (vocab_size * static_cast<int64_t>(sizeof(float)));
  return static_cast<int32_t>(
      std::clamp<int64_t>(rows, running, std::max<int64_t>(running, options.max_batch_tokens)));
}

Result<EngineParts> LoadEngineParts(const EngineOptions& options) {
  if (options.num_threads < 0) {
    return InvalidArgument("num_threads is " + std::to_string(options.num_threads) +
                           ", but must be at least 1, or 0 for all cores.");
  }
  const auto report = [&options](const char* phase) {
    return [&options, phase](int64_t done, int64_t total) {
      if (options.progress) options.progress(phase, done, total);
    };
  };
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
  // Before the weights, so that a choice that cannot serve is refused at once.
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

  TESSERA_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(options.model_directory));
  ModelOptions model;
  model.max_batch_tokens = options.max_batch_tokens;
  model.max_logit_rows = MaxLogitRows(options, config.vocab_size);
  model.dtype = options.dtype;
  model.max_model_len = options.max_model_len;
  model.progress = report("weights");
  TESSERA_ASSIGN_OR_RETURN(
      parts.model, LoadModel(options.model_directory, parts.device.get(), parts.ops.get(), model));
  TESSERA_ASSIGN_OR_RETURN(parts.tokenizer, LoadTokenizer(options.model_directory));
  parts.available_bytes = parts.device->free_bytes();
  return parts;
}

}  // namespace tessera
