// The options that every command with an engine shares, and the engine that they ask for.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/interrupt.h"
#include "engine/engine.h"
#include "tessera/result.h"

namespace tessera {

struct EngineFlags {
  std::string model;  // "": DefaultModelDirectory()
  std::string device = "auto";
  std::string fallback_device;         // "": none
  std::string dtype;                   // "": SettleDType decides
  std::string cpu_dtype = "bfloat16";  // the default on a CPU; GPUs compute in bfloat16
  std::string attention_backend;       // "": the environment's, else auto
  std::vector<std::string> attention_plugins;
  int threads = 0;
  std::string kv_cache_size;  // "": planned by the engine
  int64_t max_model_len = 0;
  int32_t batch_tokens = 2048;
  int32_t max_running = 256;
  int32_t block_size = 16;
  bool batch_invariant = false;
  bool no_prefix_cache = false;
  int32_t speculative_tokens = 0;
  RunAhead run_ahead = RunAhead::kAuto;
  double request_timeout = 0;
  bool quiet = false;
};

// Adds them to `command` in the groups "Model", "Attention" and "Engine".
void AddModelFlags(CLI::App* command, EngineFlags* flags);
void AddAttentionFlags(CLI::App* command, EngineFlags* flags);  // those that a cache needs
void AddEngineFlags(CLI::App* command, EngineFlags* flags);

// The embedded model: models/tiny-math in a directory above the program, beside an installed
// program, or in the source tree that it was built from.
Result<std::string> DefaultModelDirectory();

// flags.model, or the default one.
Result<std::string> ModelDirectory(const EngineFlags& flags);

// Sets flags->dtype if it is empty: to cpu_dtype on a CPU, to bfloat16 on a GPU. Fails if there is
// no such device.
Status SettleDType(EngineFlags* flags);

// flags.dtype, or its default on a CPU; one of those that models run in.
Result<DType> ModelDType(const EngineFlags& flags);

Result<EngineOptions> MakeEngineOptions(const EngineFlags& flags);

// Creates the engine; unless flags.quiet, prints the start-up checklist on stderr: model, weights,
// attention, KV cache, with times. With `interrupts`, Ctrl-C ends the program while it loads.
// `progress` hears of the loading as EngineOptions::progress does.
Result<std::unique_ptr<Engine>> StartEngine(
    const EngineFlags& flags, InterruptWatch* interrupts,
    const std::function<void(const std::string&, int64_t, int64_t)>& progress = {});

// One line of the start-up checklist.
void PrintRow(const char* name, const std::string& text);

}  // namespace tessera
