#include "cli/eval/score.h"

#include <fmt/format.h>

#include "cli/text.h"
#include "tessera/result.h"

namespace tessera {
namespace {

double Share(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

std::string WithError(int64_t right, int64_t items) {
  return fmt::format("{:.3f} ± {:.4f}", Share(right, items), StandardError(right, items));
}

std::string OutOf(int64_t part, int64_t whole) { return fmt::format("{}/{}", part, whole); }

double PerSecond(int64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

std::string Line(const std::string& backend, const std::string& flexible, const std::string& strict,
                 const std::string& same, const std::string& reference, const std::string& prompt,
                 const std::string& output, const std::string& time) {
  std::string line = fmt::format("{:<12}  {:<16}  {:<14}  {:>9}", backend, flexible, strict, same);
  if (!reference.empty()) line += fmt::format("  {:>11}", reference);
  line += fmt::format("  {:>12}  {:>12}  {:>10}\n", prompt, output, time);
  return line;
}

}  // namespace

double EvalScore::FlexibleShare() const { return Share(flexible, items); }
double EvalScore::StrictShare() const { return Share(strict, items); }

EvalScore ScoreRun(const std::vector<EvalItem>& items, const std::vector<std::string>& answers,
                   const std::vector<std::string>& first) {
  TESSERA_CHECK(answers.size() == items.size() && first.size() == items.size());
  EvalScore score;
  score.items = static_cast<int64_t>(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    const EvalItem& item = items[i];
    if (SameAnswer(FlexibleExtract(answers[i]), item.gold)) ++score.flexible;
    if (SameAnswer(StrictMatch(answers[i]), item.gold)) ++score.strict;
    if (answers[i] == first[i]) ++score.identical_to_first;
    if (!item.has_reference) continue;
    ++score.references;
    if (answers[i] == item.reference_completion) ++score.identical_to_reference;
  }
  return score;
}

std::string TableHeading(bool with_references) {
  return Line("backend", "flexible-extract", "strict-match", "= first",
              with_references ? "= reference" : "", "prompt tok/s", "output tok/s", "time");
}

std::string TableRow(const EvalRun& run, const EvalScore& score, bool with_references) {
  return Line(run.backend, WithError(score.flexible, score.items),
              WithError(score.strict, score.items), OutOf(score.identical_to_first, score.items),
              with_references ? OutOf(score.identical_to_reference, score.references) : "",
              FormatRate(PerSecond(run.prompt_tokens, run.seconds)),
              FormatRate(PerSecond(run.output_tokens, run.seconds)), FormatSeconds(run.seconds));
}

nlohmann::ordered_json ToJson(const EvalRun& run, const EvalScore& score) {
  nlohmann::ordered_json json = {
      {"name", run.backend},
      {"items", score.items},
      {"flexible_extract", score.FlexibleShare()},
      {"strict_match", score.StrictShare()},
      {"stderr", StandardError(score.flexible, score.items)},
      {"strict_match_stderr", StandardError(score.strict, score.items)},
      {"identical_to_first", score.identical_to_first},
      {"prompt_tokens", run.prompt_tokens},
      {"output_tokens", run.output_tokens},
      {"seconds", run.seconds},
      {"prompt_tokens_per_second", PerSecond(run.prompt_tokens, run.seconds)},
      {"output_tokens_per_second", PerSecond(run.output_tokens, run.seconds)}};
  if (score.references > 0) {
    json["references"] = score.references;
    json["identical_to_reference"] = score.identical_to_reference;
  }
  return json;
}

}  // namespace tessera
