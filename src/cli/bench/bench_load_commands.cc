// tessera bench: how fast a server answers, and how fast the engine is without one.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cli/bench/latency_svg.h"
#include "cli/bench/load/load_client.h"
#include "cli/bench/load/load_plan.h"
#include "cli/bench/load/load_report.h"
#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/exit_code.h"
#include "cli/progress.h"
#include "cli/text.h"

namespace tessera {
namespace {

struct BenchFlags {
  EngineFlags engine;
  LoadOptions load;
  std::string url = "http://127.0.0.1:8000";
  std::string api_key;
  std::string model;
  std::string json_file;
  std::string svg_file;
  double first_token_limit_ms = 0;
  double token_limit_ms = 0;
  bool json = false;
};

Status Print(const BenchFlags& flags, const LoadReport& report, const std::string& title) {
  const std::string json = ReportJson(report).dump(2) + "\n";
  std::fputs(flags.json ? json.c_str() : ReportText(report).c_str(), stdout);
  if (!flags.json_file.empty()) {
    TESSERA_RETURN_IF_ERROR(WriteTextFile(flags.json_file, json));
  }
  if (!flags.svg_file.empty()) {
    TESSERA_RETURN_IF_ERROR(WriteTextFile(flags.svg_file, LatencySvg(report, title)));
  }
  return {};
}

// "tiny-math: 256 requests of 128 + 64 tokens, 16 clients".
std::string Title(const std::string& model, const LoadOptions& load, const std::string& clients) {
  return fmt::format("{}: {} requests of {:g} + {:g} tokens (sigma {:g}), {}", model,
                     load.num_requests, load.input_tokens, load.output_tokens, load.length_sigma,
                     clients);
}

// 1 if a request failed: a script must not take such numbers for good ones.
int ExitCodeOf(const LoadReport& report) {
  for (const LoadResult& result : report.results) {
    if (!result.complete) return kExitCheckFailed;
  }
  return kExitOk;
}

Result<int> BenchServe(const BenchFlags& flags) {
  TESSERA_ASSIGN_OR_RETURN(LoadTarget target, ParseTarget(flags.url));
  target.api_key = flags.api_key;
  target.model = flags.model;
  TESSERA_RETURN_IF_ERROR(AskTarget(&target));
  TESSERA_ASSIGN_OR_RETURN(
      const std::vector<PlannedRequest> plan,
      PlanLoad(flags.load, /*first_token=*/0, target.vocab_size, target.max_model_len));
  Progress progress(
      {.title = "bench", .total = flags.load.num_requests, .quiet = flags.engine.quiet});
  TESSERA_ASSIGN_OR_RETURN(LoadReport report, RunLoad(target, flags.load, plan, [&](int64_t done) {
                             progress.Update(done);
                           }));
  progress.Finish();
  report.first_token_limit = flags.first_token_limit_ms / 1000;
  report.token_limit = flags.token_limit_ms / 1000;
  const std::string clients = flags.load.rate > 0
                                  ? fmt::format("{:g} a second", flags.load.rate)
                                  : fmt::format("{} clients", flags.load.concurrency);
  TESSERA_RETURN_IF_ERROR(Print(flags, report, Title(target.model, flags.load, clients)));
  return ExitCodeOf(report);
}

// The closed loop's requests, all at once: what the engine reaches if no client holds it up.
Result<int> BenchEngine(const BenchFlags& flags) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                           StartEngine(flags.engine, nullptr));
  TESSERA_ASSIGN_OR_RETURN(const std::vector<PlannedRequest> plan,
                           PlanLoad(flags.load, /*first_token=*/0,
                                    engine->model().config().vocab_size, engine->max_model_len()));
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  const auto seconds = [start] {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  LoadReport report;
  report.results.resize(plan.size());
  for (size_t i = 0; i < plan.size(); ++i) {
    Request request;
    request.prompt = plan[i].prompt;
    request.sampling.temperature = 0;
    request.sampling.max_tokens = plan[i].output_tokens;
    request.sampling.min_tokens = plan[i].output_tokens;
    request.sampling.ignore_eos = true;
    LoadResult& result = report.results[i];
    result.prompt_tokens = static_cast<int64_t>(plan[i].prompt.size());
    const auto submitted =
        engine->Submit(std::move(request), [&result, seconds](const RequestUpdate& update) {
          const double now = seconds();
          if (result.output_tokens == 0) {
            result.first_token = now;
          } else {
            result.intervals.push_back(now - result.last_token);
          }
          result.last_token = now;
          result.output_tokens += static_cast<int64_t>(update.tokens.size());
          result.complete = update.finish == FinishReason::kLength;
        });
    if (!submitted.ok()) return submitted.error();
  }
  engine->WaitIdle();
  report.seconds = seconds();
  TESSERA_RETURN_IF_ERROR(Print(flags, report, Title("engine alone", flags.load, "all at once")));
  return ExitCodeOf(report);
}

void AddLoadFlags(CLI::App* command, BenchFlags* flags) {
  const auto add = [command](const char* name, auto* value, const char* text, const char* type) {
    return command->add_option(name, *value, text)
        ->type_name(type)
        ->capture_default_str()
        ->group("Load");
  };
  add("--requests", &flags->load.num_requests, "Requests in all", "N");
  add("--input-len", &flags->load.input_tokens, "Mean length of the prompts in tokens", "N");
  add("--output-len", &flags->load.output_tokens, "Mean length of the answers in tokens", "N");
  add("--length-sigma", &flags->load.length_sigma,
      "Spread of the lengths: 0 none, 1 about that of conversations (log-normal)", "SIGMA");
  add("--seed", &flags->load.seed, "Of prompts, lengths and times", "N");
  command->add_flag("--json", flags->json, "JSON instead of a table")->group("Output");
  command->add_option("--json-file", flags->json_file, "Write the JSON to a file as well")
      ->type_name("FILE")
      ->group("Output");
  command->add_option("--svg", flags->svg_file, "Draw the distributions of the latencies here")
      ->type_name("FILE")
      ->group("Output");
}

}  // namespace

void AddBenchServeCommand(CLI::App* bench, CommandTable* commands) {
  const auto flags = std::make_shared<BenchFlags>();
  CLI::App* command =
      bench->add_subcommand("serve", "Load a running server, and measure what its clients see");
  const auto add = [command](const char* name, auto* value, const char* text, const char* type) {
    return command->add_option(name, *value, text)->type_name(type)->group("Server");
  };
  add("--url", &flags->url, "The server", "URL")->capture_default_str();
  add("--model", &flags->model, "Its name; without it the first one that the server names", "NAME");
  add("--api-key", &flags->api_key, "The server's key", "KEY")->envname("TESSERA_API_KEY");
  AddLoadFlags(command, flags.get());
  command
      ->add_option("--concurrency", flags->load.concurrency,
                   "Closed loop: clients, each of which asks again when it has its answer")
      ->type_name("N")
      ->capture_default_str()
      ->group("Load");
  command
      ->add_option("--rate", flags->load.rate,
                   "Open loop: requests in a second, at random times, however slow the answers are")
      ->type_name("N")
      ->group("Load");
  command
      ->add_option("--first-token-limit", flags->first_token_limit_ms,
                   "Goodput counts requests whose first token came within this time")
      ->type_name("MS")
      ->group("Output");
  command
      ->add_option("--token-limit", flags->token_limit_ms,
                   "Likewise for the mean time of each further token")
      ->type_name("MS")
      ->group("Output");
  command->add_flag("-q,--quiet", flags->engine.quiet, "No progress")->group("Output");
  (*commands)[command] = [flags] { return Finish(BenchServe(*flags)); };
}

void AddBenchEngineCommand(CLI::App* bench, CommandTable* commands) {
  const auto flags = std::make_shared<BenchFlags>();
  CLI::App* command =
      bench->add_subcommand("engine", "The same load on an engine in this process, all at once");
  AddLoadFlags(command, flags.get());
  AddEngineFlags(command, &flags->engine);
  (*commands)[command] = [flags] { return Finish(BenchEngine(*flags)); };
}

}  // namespace tessera
