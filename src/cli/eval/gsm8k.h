// GSM8K as lm-evaluation-harness scores it (task gsm8k, version 3): the prompts, the two ways to
// find the number in an answer, and the comparison.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/result.h"

namespace tessera {

// One line of a problem file: {"question", "answer"}.
struct Problem {
  std::string question;
  std::string answer;
};

// A prompt that is ready for the model.
struct EvalItem {
  std::string prompt;
  std::string gold;                  // the right answer, whole or its number only
  std::string reference_completion;  // of another implementation; "" if none is known
  bool has_reference = false;
};

// Where a generation ends, and how long it may become.
std::vector<std::string> Gsm8kStops();
inline constexpr int32_t kGsm8kMaxTokens = 256;

// Problems from JSON lines. Errors name the line of `name`.
Result<std::vector<Problem>> ParseProblems(std::string_view json_lines, const std::string& name);

// Prompts of `tests` with `num_fewshot` examples each, drawn from `shots` for one problem after the
// other as the harness draws them (seed 1234). limit 0: all.
Result<std::vector<EvalItem>> MakeEvalItems(const std::vector<Problem>& tests,
                                            const std::vector<Problem>& shots, int32_t num_fewshot,
                                            int64_t limit);

// Ready prompts from JSON lines {"prompt", "completion", "gold", ...}.
Result<std::vector<EvalItem>> ParseEvalItems(std::string_view json_lines, const std::string& name);

// The first number after "#### ", or "[invalid]".
std::string StrictMatch(std::string_view completion);

// The last number of the text, or "[invalid]".
std::string FlexibleExtract(std::string_view completion);

// What is compared: without ',', '$', everything up to the last "#### " and a final '.', in lower
// case (ASCII).
std::string NormalizeAnswer(std::string_view text);

bool SameAnswer(std::string_view found, std::string_view gold);

// Standard error of the mean of `n` outcomes of which `right` are 1, with the sample's variance.
// 0 for n < 2.
double StandardError(int64_t right, int64_t n);

}  // namespace tessera
