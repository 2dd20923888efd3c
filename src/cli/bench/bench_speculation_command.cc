// tessera bench speculation: how often guesses are right, and what that gains.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cli/bench/load/load_report.h"
#include "cli/bench/math_prompts.h"
#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/exit_code.h"
#include "cli/progress.h"
#include "cli/request.h"
#include "text/tokenizer/tokenizer.h"

namespace tessera {
namespace {

struct SpeculationFlags {
  EngineFlags engine;
  int32_t problems = 50;
  int32_t shots = 5;
};

// Of all requests with the same number of guessed tokens.
struct Total {
  double decode_seconds = 0;  // from the first token to the last
  int64_t tokens = 0;
  EngineStats before, after;  // of the engine, summed up over the requests

  int64_t steps() const { return after.steps - before.steps; }
  int64_t drafts() const { return after.drafts - before.drafts; }
  int64_t draft_tokens() const { return after.draft_tokens - before.draft_tokens; }
  int64_t accepted() const { return after.accepted_tokens - before.accepted_tokens; }
};

void AddStats(const EngineStats& stats, EngineStats* sum) {
  sum->steps += stats.steps;
  sum->drafts += stats.drafts;
  sum->draft_tokens += stats.draft_tokens;
  sum->accepted_tokens += stats.accepted_tokens;
}

Result<Completion> RunOne(Engine* engine, const std::vector<int32_t>& prompt,
                          int32_t speculative_tokens, Total* total) {
  Request request;
  request.prompt = prompt;
  request.sampling.temperature = 0;
  request.sampling.max_tokens = kGsm8kMaxTokens;
  request.sampling.stop = Gsm8kStops();
  request.sampling.speculative_tokens = speculative_tokens;
  AddStats(engine->stats(), &total->before);
  TESSERA_ASSIGN_OR_RETURN(
      Completion completion,
      RunRequest(engine, std::move(request), nullptr, [](const std::string&) { return true; }));
  engine->WaitIdle();  // until the statistics are of this request as well
  AddStats(engine->stats(), &total->after);
  total->decode_seconds += completion.seconds - completion.first_token_seconds;
  total->tokens += completion.output_tokens;
  return completion;
}

void Print(const char* name, const Total& total) {
  std::printf("  %-8s %6.1f tokens/s, %5.2f tokens a step\n", name,
              static_cast<double>(total.tokens) / total.decode_seconds,
              static_cast<double>(total.tokens) / static_cast<double>(total.steps()));
}

// One request at a time, each problem without and with guesses by turns, so that whatever else the
// machine does hits both.
Result<int> BenchSpeculation(SpeculationFlags flags) {
  TESSERA_ASSIGN_OR_RETURN(const std::string model, ModelDirectory(flags.engine));
  TESSERA_ASSIGN_OR_RETURN(const MathProblems problems, LoadMathProblems(model));
  const int32_t guesses = std::exchange(flags.engine.speculative_tokens, 0);
  TESSERA_ASSIGN_OR_RETURN(const auto engine, StartEngine(flags.engine, nullptr));
  TESSERA_ASSIGN_OR_RETURN(const Tokenizer* tokenizer, RequireTokenizer(*engine));
  const std::string shots = FixedShots(problems, static_cast<size_t>(flags.shots));
  std::array<Total, 2> totals;  // without, with
  std::vector<double> ratios;   // of the seconds for a token
  int32_t different = 0;
  Progress progress({.title = "bench", .total = flags.problems, .quiet = flags.engine.quiet});
  for (int32_t i = -1; i < flags.problems; ++i) {
    const size_t index = static_cast<size_t>(i + 1) % problems.open.size();
    const auto prompt = tokenizer->Encode(shots + Ask(problems.open[index]));
    std::array<Completion, 2> completions;
    std::array<Total, 2> own;
    for (int k = 0; k < 2; ++k) {
      const size_t which = static_cast<size_t>((k + i + 1) % 2);
      TESSERA_ASSIGN_OR_RETURN(completions[which],
                               RunOne(engine.get(), prompt, which == 0 ? 0 : guesses, &own[which]));
    }
    if (i < 0) continue;  // the one that fills the prefix cache
    for (size_t which = 0; which < 2; ++which) {
      totals[which].decode_seconds += own[which].decode_seconds;
      totals[which].tokens += own[which].tokens;
      AddStats(own[which].before, &totals[which].before);
      AddStats(own[which].after, &totals[which].after);
    }
    ratios.push_back(own[0].decode_seconds / static_cast<double>(own[0].tokens) /
                     own[1].decode_seconds * static_cast<double>(own[1].tokens));
    different += completions[0].tokens != completions[1].tokens ? 1 : 0;
    progress.Update(i + 1);
  }
  progress.Finish();
  const Total& with = totals[1];
  std::printf("decoding %d problems after %d solved ones, one at a time, up to %d guesses a step\n",
              flags.problems, flags.shots, guesses);
  Print("without", totals[0]);
  Print("with", with);
  std::printf("  accepted %.1f %% of %lld guessed tokens, %.2f for each guess\n",
              100.0 * static_cast<double>(with.accepted()) /
                  static_cast<double>(std::max<int64_t>(with.draft_tokens(), 1)),
              static_cast<long long>(with.draft_tokens()),
              static_cast<double>(with.accepted()) /
                  static_cast<double>(std::max<int64_t>(with.drafts(), 1)));
  std::printf("  faster by %.2f times (median of the problems; quartiles %.2f to %.2f)\n",
              Percentile(ratios, 50), Percentile(ratios, 25), Percentile(ratios, 75));
  std::printf("  answers that differ: %d\n", different);
  return kExitOk;
}

}  // namespace

void AddBenchSpeculationCommand(CLI::App* bench, CommandTable* commands) {
  const auto flags = std::make_shared<SpeculationFlags>();
  flags->engine.speculative_tokens = 4;
  CLI::App* command =
      bench->add_subcommand("speculation", "How often guesses are right, and what that gains");
  const auto add = [command](const char* name, int32_t* value, int32_t least, const char* text) {
    command->add_option(name, *value, text)
        ->check(CLI::Range(least, 1 << 20))
        ->type_name("N")
        ->capture_default_str()
        ->group("Load");
  };
  add("--problems", &flags->problems, 1, "Problems that are asked after the same solved ones");
  add("--shots", &flags->shots, 0, "Number of those");
  AddEngineFlags(command, &flags->engine);
  (*commands)[command] = [flags] { return Finish(BenchSpeculation(*flags)); };
}

}  // namespace tessera
