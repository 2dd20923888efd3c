#include "cli/engine_flags.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "attention/backend_choice.h"
#include "cli/exit_code.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "cli/version.h"
#include "tessera/device.h"
#include "tessera/dtype.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

constexpr const char* kEmbeddedModel = "models/tiny-math";

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// One row for each kind of layer.
void PrintAttention(const Engine& engine) {
  const std::vector<Selection>& selections = engine.attention_by_kind();
  for (size_t i = 0; i < selections.size(); ++i) {
    const std::string kind = ToString(KindOf(engine.layer_kinds()[i]));
    PrintRow("attention",
             (selections.size() > 1 ? kind + " layers: " : "") + selections[i].Explain());
  }
}

void PrintChecklist(const EngineFlags& flags, const Engine& engine, double seconds) {
  const Model& model = engine.model();
  const ModelConfig& config = model.config();
  PrintRow("model", fmt::format("{}, {} layers, {}/{} heads of {}, vocabulary {}",
                                config.architecture, config.num_layers, config.num_heads,
                                config.num_kv_heads, config.head_size, config.vocab_size));
  PrintRow(
      "weights",
      fmt::format("{} in {}, {} arithmetic", FormatBytes(static_cast<double>(model.weight_bytes())),
                  FormatSeconds(seconds), flags.dtype.empty() ? flags.cpu_dtype : flags.dtype));
  PrintAttention(engine);
  for (const std::string& warning : engine.attention().warnings) PrintRow("warning", warning);
  for (const std::string& note : engine.notes()) PrintRow("engine", note);
}

}  // namespace

void PrintRow(const char* name, const std::string& text) {
  std::fprintf(stderr, "  %-10s %s\n", name, text.c_str());
}

void AddModelFlags(CLI::App* command, EngineFlags* flags) {
  command
      ->add_option("--model", flags->model,
                   "Directory with config.json, model.safetensors and tokenizer.json; without it "
                   "the embedded tiny-math model")
      ->envname("TESSERA_MODEL")
      ->type_name("DIR")
      ->group("Model");
  command
      ->add_option("--device", flags->device,
                   "Where the model runs: auto (a GPU if one is usable, else the CPU), cpu, "
                   "cuda[:N], hip[:N], simt-emulated, rocm-emulated, fenced")
      ->envname("TESSERA_DEVICE")
      ->type_name("NAME")
      ->capture_default_str()
      ->group("Model");
  command
      ->add_option("--dtype", flags->dtype, "Arithmetic and KV cache: bfloat16, float16, float32")
      ->envname("TESSERA_DTYPE")
      ->type_name("TYPE")
      ->default_str(flags->cpu_dtype)
      ->group("Model");
  command
      ->add_option("--attention-backend", flags->attention_backend,
                   "Attention backend, or auto (see `tessera backends`); also by phase and kind of "
                   "layer, as prefill=portable,decode=x86,sliding=reference "
                   "(Env:TESSERA_ATTENTION_BACKEND)")
      ->type_name("NAME")
      ->default_str("auto")
      ->group("Attention");
  command
      ->add_option("--attention-plugin", flags->attention_plugins,
                   "Shared library with one more backend; may be given several times")
      ->type_name("FILE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->group("Attention");
  command->add_option("--threads", flags->threads, "CPU threads; 0: one for every core")
      ->envname("TESSERA_THREADS")
      ->check(CLI::Range(0, 1024))
      ->type_name("N")
      ->capture_default_str()
      ->group("Engine");
}

void AddAttentionFlags(CLI::App* command, EngineFlags* flags) {
  command->add_option("--block-size", flags->block_size, "Tokens in one block of the KV cache")
      ->check(CLI::Range(1, 65536))
      ->type_name("N")
      ->capture_default_str()
      ->group("Attention");
  command
      ->add_flag(
          "--batch-invariant", flags->batch_invariant,
          "A request's result does not depend on what runs beside it, to the last bit; slower "
          "on GPUs")
      ->group("Attention");
}

void AddEngineFlags(CLI::App* command, EngineFlags* flags) {
  AddModelFlags(command, flags);
  AddAttentionFlags(command, flags);
  command
      ->add_option("--max-model-len", flags->max_model_len,
                   "Longest request in tokens, prompt and answer; 0: the model's own limit")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30))
      ->type_name("N")
      ->capture_default_str()
      ->group("Model");
  command
      ->add_option("--kv-cache-size", flags->kv_cache_size,
                   "Memory of the KV cache, as 512MB or 2GiB; without it planned from free memory")
      ->envname("TESSERA_KV_CACHE_SIZE")
      ->type_name("SIZE")
      ->group("Engine");
  command
      ->add_option("--batch-tokens", flags->batch_tokens,
                   "Tokens of one step: longer prompts are computed in chunks")
      ->check(CLI::Range(1, 1 << 20))
      ->type_name("N")
      ->capture_default_str()
      ->group("Engine");
  command->add_option("--max-running", flags->max_running, "Requests in one step")
      ->check(CLI::Range(1, 1 << 16))
      ->type_name("N")
      ->capture_default_str()
      ->group("Engine");
  command
      ->add_flag("--no-prefix-cache", flags->no_prefix_cache,
                 "Compute every prompt whole, also if another one began alike")
      ->group("Engine");
  command
      ->add_option("--speculative-tokens", flags->speculative_tokens,
                   "Guess this many tokens from repetitions and check them in one step; 0: none")
      ->check(CLI::Range(0, kMaxSpeculativeTokens))
      ->type_name("N")
      ->capture_default_str()
      ->group("Engine");
  const std::map<std::string, RunAhead> choices = {
      {"auto", RunAhead::kAuto}, {"on", RunAhead::kOn}, {"off", RunAhead::kOff}};
  command
      ->add_option(
          "--run-ahead", flags->run_ahead,
          "Submit a step before the one before it is done: auto (on a device that computes "
          "in the background), on, off")
      ->transform(CLI::CheckedTransformer(choices))
      ->type_name("auto|on|off")
      ->default_str("auto")
      ->group("Engine");
  command->add_flag("-q,--quiet", flags->quiet, "No start-up lines and no progress")
      ->group("Output");
}

Result<std::string> DefaultModelDirectory() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    for (fs::path directory = program.parent_path();; directory = directory.parent_path()) {
      for (const fs::path& candidate :
           {directory / kEmbeddedModel, directory / "share/tessera" / kEmbeddedModel}) {
        if (fs::exists(candidate / "config.json", error)) return candidate.string();
      }
      if (directory == directory.root_path()) break;
    }
  }
  const fs::path in_source = fs::path(kSourceDirectory) / kEmbeddedModel;
  if (fs::exists(in_source / "config.json", error)) return in_source.string();
  return NotFound(
      "no model given, and the embedded models/tiny-math is not near the program; "
      "name a model with --model DIR or TESSERA_MODEL");
}

Result<std::string> ModelDirectory(const EngineFlags& flags) {
  if (!flags.model.empty()) return flags.model;
  return DefaultModelDirectory();
}

Status SettleDType(EngineFlags* flags) {
  if (!flags->dtype.empty()) return {};
  flags->dtype = flags->cpu_dtype;
  if (flags->cpu_dtype == ToString(DType::kBFloat16)) return {};
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Device> device, OpenDevice(flags->device));
  if (device->info().kind != DeviceKind::kCpu) flags->dtype = ToString(DType::kBFloat16);
  return {};
}

Result<DType> ModelDType(const EngineFlags& flags) {
  const std::string& name = flags.dtype.empty() ? flags.cpu_dtype : flags.dtype;
  for (const DType dtype : {DType::kBFloat16, DType::kFloat16, DType::kFloat32}) {
    if (name == ToString(dtype)) return dtype;
  }
  return InvalidArgument(fmt::format(
      "a model cannot run in '{}'; set --dtype or TESSERA_DTYPE to bfloat16, float16 or "
      "float32",
      name));
}

Result<EngineOptions> MakeEngineOptions(const EngineFlags& flags) {
  EngineOptions options;
  TESSERA_ASSIGN_OR_RETURN(options.model_directory, ModelDirectory(flags));
  TESSERA_ASSIGN_OR_RETURN(options.dtype, ModelDType(flags));
  if (!flags.kv_cache_size.empty()) {
    TESSERA_ASSIGN_OR_RETURN(options.kv_cache_bytes, ParseBytes(flags.kv_cache_size));
  }
  options.device = flags.device;
  options.fallback_device = flags.fallback_device;
  options.attention_backend = flags.attention_backend;
  options.attention_plugins = flags.attention_plugins;
  options.block_size = flags.block_size;
  options.max_model_len = flags.max_model_len;
  options.max_batch_tokens = flags.batch_tokens;
  options.max_running = flags.max_running;
  options.num_threads = flags.threads;
  options.batch_invariant = flags.batch_invariant;
  options.prefix_caching = !flags.no_prefix_cache;
  options.speculative_tokens = flags.speculative_tokens;
  options.run_ahead = flags.run_ahead;
  options.request_timeout = flags.request_timeout;
  return options;
}

Result<std::unique_ptr<Engine>> StartEngine(
    const EngineFlags& flags, InterruptWatch* interrupts,
    const std::function<void(const std::string&, int64_t, int64_t)>& progress) {
  TESSERA_ASSIGN_OR_RETURN(EngineOptions options, MakeEngineOptions(flags));
  if (!flags.quiet) {
    std::fprintf(stderr, "tessera %s, %s\n", VersionText(), options.model_directory.c_str());
  }
  std::optional<Progress> bar;
  std::string current;
  options.progress = [&](const std::string& phase, int64_t done, int64_t total) {
    if (interrupts != nullptr && interrupts->Take()) std::_Exit(kExitInterrupted);
    if (phase != current) {
      bar.emplace(Progress::Options{
          .title = "  " + phase, .total = total, .as_bytes = true, .quiet = flags.quiet});
      current = phase;
    }
    bar->Update(done);
    if (progress) progress(phase, done, total);
  };
  const auto start = std::chrono::steady_clock::now();
  auto engine = Engine::Create(options);
  bar.reset();
  if (engine.ok() && !flags.quiet) PrintChecklist(flags, **engine, SecondsSince(start));
  return engine;
}

}  // namespace tessera
