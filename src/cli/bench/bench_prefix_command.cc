// tessera bench prefix: what the prefix cache saves if prompts begin alike.
#include <fmt/format.h>

#include <algorithm>
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
#include "cli/request.h"
#include "text/tokenizer/tokenizer.h"

namespace tessera {
namespace {

struct PrefixFlags {
  EngineFlags engine;
  int32_t prefix_tokens = 1500;
  int32_t rounds = 20;
  int32_t problems = 100;
  int32_t shots = 5;
};

// The same engine twice: with the cache and without it.
struct Engines {
  std::unique_ptr<Engine> with;
  std::unique_ptr<Engine> without;
};

Result<Engines> StartBoth(const PrefixFlags& flags) {
  Engines engines;
  EngineFlags engine = flags.engine;
  engine.no_prefix_cache = false;
  TESSERA_ASSIGN_OR_RETURN(engines.with, StartEngine(engine, nullptr));
  engine.no_prefix_cache = true;
  engine.quiet = true;
  TESSERA_ASSIGN_OR_RETURN(engines.without, StartEngine(engine, nullptr));
  return engines;
}

Request Greedy(std::vector<int32_t> prompt, int32_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.sampling.max_tokens = max_tokens;
  return request;
}

Result<double> FirstTokenSeconds(Engine* engine, const std::vector<int32_t>& prompt) {
  TESSERA_ASSIGN_OR_RETURN(
      const Completion completion,
      RunRequest(engine, Greedy(prompt, 1), nullptr, [](const std::string&) { return true; }));
  return completion.first_token_seconds;
}

// One request at a time, each with a question of its own after the same beginning; both engines by
// turns, so that whatever else the machine does hits both.
Status MeasureFirstToken(const PrefixFlags& flags, const MathProblems& problems,
                         const Tokenizer& tokenizer, const Engines& engines) {
  std::vector<int32_t> prefix = tokenizer.Encode(FixedShots(problems, problems.solved.size()));
  if (static_cast<int32_t>(prefix.size()) < flags.prefix_tokens) {
    return InvalidArgument(
        fmt::format("the model's solved problems make a prefix of {} tokens only; "
                    "ask for at most as many with --prefix-tokens",
                    prefix.size()));
  }
  prefix.resize(static_cast<size_t>(flags.prefix_tokens));
  std::vector<double> with, without, ratios;
  for (int32_t round = -1; round < flags.rounds; ++round) {
    const size_t index = static_cast<size_t>(round + 1) % problems.open.size();
    std::vector<int32_t> prompt = prefix;
    const std::vector<int32_t> question = tokenizer.Encode("\n\n" + Ask(problems.open[index]));
    prompt.insert(prompt.end(), question.begin(), question.end());
    TESSERA_ASSIGN_OR_RETURN(const double cached, FirstTokenSeconds(engines.with.get(), prompt));
    TESSERA_ASSIGN_OR_RETURN(const double whole, FirstTokenSeconds(engines.without.get(), prompt));
    if (round < 0) continue;  // the one that fills the cache
    with.push_back(cached);
    without.push_back(whole);
    ratios.push_back(whole / cached);
  }
  const double milliseconds = 1000;
  std::printf(
      "time to first token after a prefix of %d tokens, medians of %d\n"
      "  without cache  %8.2f ms\n"
      "  with cache     %8.2f ms\n"
      "  sooner by      %8.1f times (slowest to fastest round: %.1f to %.1f)\n",
      flags.prefix_tokens, flags.rounds, Percentile(without, 50) * milliseconds,
      Percentile(with, 50) * milliseconds, Percentile(ratios, 50),
      *std::min_element(ratios.begin(), ratios.end()),
      *std::max_element(ratios.begin(), ratios.end()));
  return {};
}

struct Work {
  int64_t prompt_tokens = 0;
  int64_t computed = 0;
};

// All problems at once after the same solved ones.
Result<Work> ComputedTokens(const PrefixFlags& flags, const MathProblems& problems,
                            Engine* engine) {
  const std::string shots = FixedShots(problems, static_cast<size_t>(flags.shots));
  const int64_t before = engine->stats().prompt_tokens_computed;
  Work work;
  for (int32_t i = 0; i < flags.problems; ++i) {
    const Problem& problem = problems.open[static_cast<size_t>(i) % problems.open.size()];
    Request request = Greedy(engine->tokenizer()->Encode(shots + Ask(problem)), kGsm8kMaxTokens);
    request.sampling.stop = Gsm8kStops();
    work.prompt_tokens += static_cast<int64_t>(request.prompt.size());
    const auto id = engine->Submit(std::move(request), nullptr);
    if (!id.ok()) return id.error();
  }
  engine->WaitIdle();
  work.computed = engine->stats().prompt_tokens_computed - before;
  return work;
}

Status MeasureComputedTokens(const PrefixFlags& flags, const MathProblems& problems,
                             const Engines& engines) {
  TESSERA_ASSIGN_OR_RETURN(const Work with, ComputedTokens(flags, problems, engines.with.get()));
  TESSERA_ASSIGN_OR_RETURN(const Work without,
                           ComputedTokens(flags, problems, engines.without.get()));
  const double count = flags.problems;
  std::printf(
      "prompt tokens computed for each of %d problems after the same %d solved ones\n"
      "  prompt         %8.1f\n"
      "  without cache  %8.1f\n"
      "  with cache     %8.1f\n",
      flags.problems, flags.shots, static_cast<double>(with.prompt_tokens) / count,
      static_cast<double>(without.computed) / count, static_cast<double>(with.computed) / count);
  return {};
}

Result<int> BenchPrefix(const PrefixFlags& flags) {
  TESSERA_ASSIGN_OR_RETURN(const std::string model, ModelDirectory(flags.engine));
  TESSERA_ASSIGN_OR_RETURN(const MathProblems problems, LoadMathProblems(model));
  TESSERA_ASSIGN_OR_RETURN(const Engines engines, StartBoth(flags));
  TESSERA_ASSIGN_OR_RETURN(const Tokenizer* tokenizer, RequireTokenizer(*engines.with));
  TESSERA_RETURN_IF_ERROR(MeasureFirstToken(flags, problems, *tokenizer, engines));
  TESSERA_RETURN_IF_ERROR(MeasureComputedTokens(flags, problems, engines));
  return kExitOk;
}

}  // namespace

void AddBenchPrefixCommand(CLI::App* bench, CommandTable* commands) {
  const auto flags = std::make_shared<PrefixFlags>();
  CLI::App* command =
      bench->add_subcommand("prefix", "What the prefix cache saves if prompts begin alike");
  const auto add = [command](const char* name, int32_t* value, int32_t least, const char* text) {
    command->add_option(name, *value, text)
        ->check(CLI::Range(least, 1 << 20))
        ->type_name("N")
        ->capture_default_str()
        ->group("Load");
  };
  add("--prefix-tokens", &flags->prefix_tokens, 1, "Length of the common beginning");
  add("--rounds", &flags->rounds, 1, "Requests after it, on each engine");
  add("--problems", &flags->problems, 1, "Problems that are asked after the same solved ones");
  add("--shots", &flags->shots, 0, "Number of those");
  AddEngineFlags(command, &flags->engine);
  (*commands)[command] = [flags] { return Finish(BenchPrefix(*flags)); };
}

}  // namespace tessera
