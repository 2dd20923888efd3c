// tessera eval: GSM8K's score of a model, on one attention backend after the other.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/eval/gsm8k.h"
#include "cli/eval/runner.h"
#include "cli/eval/score.h"
#include "cli/exit_code.h"
#include "cli/progress.h"
#include "cli/text.h"

namespace tessera {
namespace {

struct EvalFlags {
  EngineFlags engine;
  std::string tests;
  std::string shots;
  std::string prompts;
  int32_t num_fewshot = 5;
  int64_t limit = 0;
  int show = 0;
  double min_score = 0;
  std::string json;
  std::string answers;
};

// The prompts that the options name, or those beside the model.
Result<std::vector<EvalItem>> LoadItems(EvalFlags flags) {
  if (flags.prompts.empty() && flags.tests.empty()) {
    TESSERA_ASSIGN_OR_RETURN(const std::string model, ModelDirectory(flags.engine));
    const std::string data = model + "/data/";
    const std::string reference = data + "reference/answers." + flags.engine.dtype + ".jsonl";
    if (std::filesystem::exists(reference)) {
      flags.prompts = reference;
    } else if (std::filesystem::exists(data + "test.jsonl")) {
      flags.tests = data + "test.jsonl";
      flags.shots = data + "train.jsonl";
    } else {
      return InvalidArgument(model +
                             " brings no test problems; give --tests and --shots, or --prompts");
    }
  }
  if (!flags.prompts.empty()) {
    TESSERA_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(flags.prompts));
    TESSERA_ASSIGN_OR_RETURN(std::vector<EvalItem> items, ParseEvalItems(text, flags.prompts));
    if (flags.limit > 0 && static_cast<size_t>(flags.limit) < items.size()) {
      items.resize(static_cast<size_t>(flags.limit));
    }
    return items;
  }
  TESSERA_ASSIGN_OR_RETURN(const std::string test_text, ReadTextFile(flags.tests));
  TESSERA_ASSIGN_OR_RETURN(const auto tests, ParseProblems(test_text, flags.tests));
  std::vector<Problem> shots;
  if (!flags.shots.empty()) {
    TESSERA_ASSIGN_OR_RETURN(const std::string shot_text, ReadTextFile(flags.shots));
    TESSERA_ASSIGN_OR_RETURN(shots, ParseProblems(shot_text, flags.shots));
  }
  return MakeEvalItems(tests, shots, flags.num_fewshot, flags.limit);
}

// "portable,reference"; choices that hold commas themselves (decode=x86,prefill=portable) are
// parted by semicolons.
std::vector<std::string> SplitNames(const std::string& list) {
  const bool composed = list.find_first_of(";=") != std::string::npos;
  std::vector<std::string> names;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(composed ? ';' : ',', begin), list.size());
    if (end > begin) names.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return names;
}

// Puts a run's answers after those of earlier runs, one JSON object a line.
void AppendAnswers(const EvalRun& run, const std::vector<EvalItem>& items, std::string* lines) {
  for (size_t i = 0; i < items.size(); ++i) {
    const std::string& answer = run.answers[i];
    const nlohmann::ordered_json json = {
        {"backend", run.backend},
        {"prompt", items[i].prompt},
        {"completion", answer},
        {"gold", NormalizeAnswer(items[i].gold)},
        {"strict", SameAnswer(StrictMatch(answer), items[i].gold)},
        {"flexible", SameAnswer(FlexibleExtract(answer), items[i].gold)}};
    *lines += json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  }
}

void ShowExamples(const std::vector<EvalItem>& items, const EvalRun& run, int count) {
  for (size_t i = 0; i < items.size() && i < static_cast<size_t>(count); ++i) {
    const size_t question = items[i].prompt.rfind("Question:");
    const std::string shown =
        question == std::string::npos ? items[i].prompt : items[i].prompt.substr(question);
    std::printf("\n%s%s\n", shown.c_str(), run.answers[i].c_str());
  }
}

class Evaluation {
 public:
  Evaluation(const EvalFlags& flags, std::vector<EvalItem> items)
      : flags_(flags), items_(std::move(items)), references_(items_[0].has_reference) {}

  // The exit code.
  Result<int> Run() {
    std::vector<std::string> names = SplitNames(flags_.engine.attention_backend);
    const bool all = names.size() == 1 && names[0] == "all";
    if (all || names.empty()) names = {"auto"};
    std::printf("%s problems, greedy, at most %d tokens, %s\n\n%s",
                std::to_string(items_.size()).c_str(), kGsm8kMaxTokens, flags_.engine.dtype.c_str(),
                TableHeading(references_).c_str());
    std::fflush(stdout);
    for (size_t i = 0; i < names.size(); ++i) {
      TESSERA_ASSIGN_OR_RETURN(const std::vector<std::string> others, RunOn(names[i]));
      if (all && i == 0) names.insert(names.end(), others.begin(), others.end());
    }
    ShowExamples(items_, first_, flags_.show);
    TESSERA_RETURN_IF_ERROR(WriteFiles());
    if (lowest_ >= flags_.min_score) return kExitOk;
    std::fprintf(stderr, "tessera: the lowest score %.3f is below --min-score %.3f\n", lowest_,
                 flags_.min_score);
    return kExitCheckFailed;
  }

 private:
  // Returns the other backends that could serve.
  Result<std::vector<std::string>> RunOn(const std::string& name) {
    EngineFlags engine_flags = flags_.engine;
    engine_flags.attention_backend = name;
    engine_flags.quiet = true;
    TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                             StartEngine(engine_flags, nullptr));
    std::vector<std::string> others;
    const Selection& selection = engine->attention();
    for (const Candidate& candidate : selection.candidates) {
      if (candidate.support.ok() && candidate.name != selection.backend->Name()) {
        others.push_back(candidate.name);
      }
    }
    Progress progress({.title = "eval " + selection.backend->Name(),
                       .total = static_cast<int64_t>(items_.size()),
                       .quiet = flags_.engine.quiet});
    TESSERA_ASSIGN_OR_RETURN(
        EvalRun run, RunEval(engine.get(), items_, [&](int64_t done) { progress.Update(done); }));
    progress.Finish();
    if (first_.answers.empty()) first_ = run;
    const EvalScore score = ScoreRun(items_, run.answers, first_.answers);
    lowest_ = std::min({lowest_, score.FlexibleShare(), score.StrictShare()});
    std::fputs(TableRow(run, score, references_).c_str(), stdout);
    std::fflush(stdout);
    results_.push_back(ToJson(run, score));
    if (!flags_.answers.empty()) AppendAnswers(run, items_, &answer_lines_);
    return others;
  }

  Status WriteFiles() const {
    if (!flags_.answers.empty()) {
      TESSERA_RETURN_IF_ERROR(WriteTextFile(flags_.answers, answer_lines_));
    }
    if (flags_.json.empty()) return {};
    TESSERA_ASSIGN_OR_RETURN(const std::string model, ModelDirectory(flags_.engine));
    const nlohmann::ordered_json json = {{"model", model},
                                         {"dtype", flags_.engine.dtype},
                                         {"items", items_.size()},
                                         {"max_tokens", kGsm8kMaxTokens},
                                         {"backends", results_}};
    return WriteTextFile(flags_.json, json.dump(2) + "\n");
  }

  const EvalFlags& flags_;
  const std::vector<EvalItem> items_;
  const bool references_;
  EvalRun first_;
  double lowest_ = 1;
  nlohmann::ordered_json results_ = nlohmann::ordered_json::array();
  std::string answer_lines_;
};

Result<int> Eval(EvalFlags flags) {
  TESSERA_RETURN_IF_ERROR(SettleDType(&flags.engine));
  TESSERA_ASSIGN_OR_RETURN(std::vector<EvalItem> items, LoadItems(flags));
  // Before minutes of work, not after them.
  for (const std::string& path : {flags.answers, flags.json}) {
    if (!path.empty()) TESSERA_RETURN_IF_ERROR(WriteTextFile(path, ""));
  }
  return Evaluation(flags, std::move(items)).Run();
}

}  // namespace

void AddEvalCommand(CLI::App* app, CommandTable* commands) {
  const auto flags = std::make_shared<EvalFlags>();
  // Comparisons between backends, and with other implementations, want the rounding out of the way.
  flags->engine.cpu_dtype = "float32";
  CLI::App* command = app->add_subcommand(
      "eval",
      "Score word problems as lm-evaluation-harness scores GSM8K, on one backend or several.\n"
      "--attention-backend takes a list, or all: every backend that can serve the model; choices\n"
      "that hold commas are parted by semicolons.\n"
      "Without --tests and --prompts it takes the problems that the model directory brings.");
  CLI::Option* tests =
      command->add_option("--tests", flags->tests, "Problems: {question, answer} a line")
          ->type_name("FILE")
          ->group("Problems");
  command->add_option("--shots", flags->shots, "Problems to draw few-shot examples from")
      ->type_name("FILE")
      ->needs(tests)
      ->group("Problems");
  command->add_option("--num-fewshot", flags->num_fewshot, "Examples in each prompt")
      ->check(CLI::Range(0, 1000))
      ->type_name("N")
      ->capture_default_str()
      ->group("Problems");
  command
      ->add_option("--prompts", flags->prompts,
                   "Ready prompts and another implementation's answers: {prompt, completion, gold}")
      ->type_name("FILE")
      ->excludes(tests)
      ->group("Problems");
  command->add_option("--limit", flags->limit, "Only the first N problems; 0: all")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 31))
      ->type_name("N")
      ->capture_default_str()
      ->group("Problems");
  AddEngineFlags(command, &flags->engine);
  command->add_option("--show", flags->show, "Print the first N questions with their answers")
      ->check(CLI::Range(0, 1000000))
      ->type_name("N")
      ->group("Output");
  command->add_option("--json", flags->json, "Write the scores as JSON")
      ->type_name("FILE")
      ->group("Output");
  command->add_option("--answers", flags->answers, "Write every answer as a JSON line")
      ->type_name("FILE")
      ->group("Output");
  command
      ->add_option("--min-score", flags->min_score,
                   "Exit with 1 if a backend's score, strict or flexible, is lower")
      ->check(CLI::Range(0.0, 1.0))
      ->type_name("X")
      ->group("Output");
  (*commands)[command] = [flags] { return Finish(Eval(*flags)); };
}

}  // namespace tessera
