// tessera verify: a model's logits against recorded ones, on one backend or several.
#include "engine/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/exit_code.h"
#include "tessera/registry.h"

namespace tessera {
namespace {

struct VerifyFlags {
  EngineFlags engine;
  std::string golden;
  int32_t chunk = 0;
  int32_t companions = 0;
  double tolerance = 0;  // 0: by dtype
};

// Largest difference of a logit that rounding explains: sums in another order in float32; of types
// of 11 and 8 bits of mantissa eight rounding errors of the largest logit, and of models of
// a few layers, whose logits are small, a fixed number. (SmolLM2-135M, 30 layers, logits up to 38:
// rounding nothing but the inputs of products to bfloat16 moves them by up to 0.62.)
double DefaultTolerance(DType dtype, double largest_logit) {
  switch (dtype) {
    case DType::kFloat32:
      return 1e-3;
    case DType::kFloat16:
      return std::max(0.05, largest_logit / 256);
    default:
      return std::max(0.25, largest_logit / 32);
  }
}

Result<int> Verify(VerifyFlags flags) {
  TESSERA_RETURN_IF_ERROR(SettleDType(&flags.engine));
  VerifyOptions options;
  TESSERA_ASSIGN_OR_RETURN(options.model_dir, ModelDirectory(flags.engine));
  TESSERA_ASSIGN_OR_RETURN(options.dtype, ModelDType(flags.engine));
  options.golden_path = flags.golden;
  options.device = flags.engine.device;
  options.chunk = flags.chunk;
  options.companions = flags.companions;
  options.threads = flags.engine.threads;
  options.plugins = flags.engine.attention_plugins;

  const bool all = flags.engine.attention_backend == "all";
  std::vector<std::string> names = {flags.engine.attention_backend};
  if (all) {
    names.clear();
    for (const BackendEntry& entry : BackendEntries()) names.push_back(entry.name);
  }
  double largest = 0, largest_logit = 0;
  int verified = 0;
  for (const std::string& name : names) {
    options.backend = name;
    const auto report = VerifyGolden(options);
    if (!report.ok()) {
      // Of "all", those that cannot serve the model are no failure.
      if (!all || report.error().code != ErrorCode::kUnsupported) return report.error();
      std::printf("%-12s cannot serve: %s\n", name.c_str(), report.error().message.c_str());
      continue;
    }
    ++verified;
    largest_logit = std::max(largest_logit, report->largest_logit);
    largest = std::isnan(report->max_error) ? INFINITY : std::max(largest, report->max_error);
    fmt::print(
        "{:<12} {} logits of {} tokens: mean error {:.2e}, largest {:.2e}, same likeliest "
        "token {}/{}\n",
        report->backend, report->count, report->rows, report->mean_error, report->max_error,
        report->argmax_matches, report->rows);
  }
  if (verified == 0) return Unsupported("no backend can serve this model");
  const double tolerance =
      flags.tolerance > 0 ? flags.tolerance : DefaultTolerance(options.dtype, largest_logit);
  const bool within = largest <= tolerance;
  if (!within) {
    fmt::print(
        "The logits differ by more than the tolerance of {:.3g}{}. {}\n", tolerance,
        flags.tolerance > 0 ? "" : fmt::format(", the default for {}", flags.engine.dtype),
        std::isfinite(largest)
            ? "Rounding grows with the logits: where theirs are large and every likeliest token is "
              "the same, set --tolerance above the largest error; else the checkpoint and the "
              "recording do not belong together, or the computation is wrong."
            : "Some of them are not numbers: the checkpoint or the recording is damaged, or the "
              "computation is wrong.");
  }
  fmt::print("largest error {:.3e} ({} {:.3e})\n", largest, within ? "within" : "beyond",
             tolerance);
  return within ? kExitOk : kExitCheckFailed;
}

}  // namespace

void AddVerifyCommand(CLI::App* app, CommandTable* commands) {
  const auto flags = std::make_shared<VerifyFlags>();
  flags->engine.cpu_dtype = "float32";
  CLI::App* command = app->add_subcommand(
      "verify",
      "Compare a model's logits with recorded ones; exits with 1 beyond the tolerance.\n"
      "--attention-backend all: every backend that can serve the model.");
  AddModelFlags(command, &flags->engine);
  command
      ->add_option(
          "--golden", flags->golden,
          "Recorded logits: safetensors with input_ids [B, T] and logits [B, T, vocabulary]; "
          "without it golden.safetensors of the model directory")
      ->type_name("FILE")
      ->group("Check");
  command->add_option("--chunk", flags->chunk, "Tokens of a sequence in one step; 0: all at once")
      ->check(CLI::Range(0, 1 << 20))
      ->type_name("N")
      ->capture_default_str()
      ->group("Check");
  command
      ->add_option("--companions", flags->companions,
                   "Run all sequences in one batch, with this many others beside them")
      ->check(CLI::Range(0, 1000))
      ->type_name("N")
      ->capture_default_str()
      ->group("Check");
  command
      ->add_option(
          "--tolerance", flags->tolerance,
          "Largest difference of a logit; without it 0.001 for float32; for float16 and bfloat16 "
          "1/256 and 1/32 of the largest logit, but 0.05 and 0.25 at least")
      ->check(CLI::Range(1e-9, 1e9))
      ->type_name("X")
      ->group("Check");
  (*commands)[command] = [flags] { return Finish(Verify(*flags)); };
}

}  // namespace tessera
