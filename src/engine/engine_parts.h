// What an engine is made of besides its own machinery.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/attention_switch.h"
#include "engine/engine.h"
#include "engine/layer_groups.h"
#include "model/model.h"
#include "ops/ops.h"
#include "tessera/device.h"
#include "tessera/registry.h"
#include "tessera/thread_pool.h"
#include "text/tokenizer/tokenizer.h"

namespace tessera {

// In order of construction: each part may use those above it.
struct EngineParts {
  std::unique_ptr<ThreadPool> threads;  // used by the stepping thread only
  std::unique_ptr<Device> device;
  std::unique_ptr<Stream> stream;  // of `device`: all of the engine's work
  std::unique_ptr<Ops> ops;
  std::unique_ptr<Model> model;
  std::unique_ptr<Tokenizer> tokenizer;  // null: tokens only
  LayerGroups groups;                    // of model->layer_specs()
  std::vector<Selection> selections;     // [groups.specs]
  SelectAttention select_attention;      // to replace one of them later; null: they are final
  int64_t available_bytes = 0;           // of device memory, for the KV cache; 0: unknown
  std::vector<std::string> notes;
  // The same on another device, for when this one is lost; null: there is none. Called at most
  // once, from the stepping thread.
  std::function<Result<EngineParts>()> load_fallback;
};

// Fails if an option is out of its range, whatever model and device are.
Status CheckOptions(const EngineOptions& options);

// The rows of a step whose logits may be wanted: as many as fit 64 MiB, and max_running at least.
int32_t MaxLogitRows(const EngineOptions& options, int64_t vocab_size);

// Loads the model of options.model_directory and chooses the backends for its layers. Options that
// are out of their range are refused before a device is opened.
Result<EngineParts> LoadEngineParts(const EngineOptions& options);

}  // namespace tessera
