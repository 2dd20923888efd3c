#include <filesystem>
#include <utility>

#include "base/memory.h"
#include "engine/engine_parts.h"
#include "ops/cpu_ops.h"
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
  parts.ops = CreateCpuOps(parts.threads.get());

  // Before the weights, so that a choice that cannot serve is refused at once.
  TESSERA_ASSIGN_OR_RETURN(const std::vector<AttentionSpec> specs,
                           LoadLayerSpecs(options.model_directory, options.dtype));
  parts.groups = GroupLayers(specs);
  BackendContext context;
  context.device = DetectCpu();
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

  ModelOptions model;
  model.dtype = options.dtype;
  model.max_model_len = options.max_model_len;
  model.progress = report("weights");
  TESSERA_ASSIGN_OR_RETURN(parts.model, LoadModel(options.model_directory, parts.ops.get(), model));
  TESSERA_ASSIGN_OR_RETURN(parts.tokenizer, LoadTokenizer(options.model_directory));
  parts.available_bytes = AvailableMemoryBytes();
  return parts;
}

}  // namespace tessera
