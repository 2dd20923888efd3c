// The scores of one evaluation run, and the table and JSON that show them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/eval/gsm8k.h"

namespace tessera {

// What one backend made of all prompts.
struct EvalRun {
  std::string backend;
  std::vector<std::string> answers;  // one for each item
  int64_t prompt_tokens = 0;         // of all prompts, cached ones included
  int64_t output_tokens = 0;
  double seconds = 0;  // from the first request to the last answer
};

struct EvalScore {
  int64_t items = 0;
  int64_t flexible = 0;  // right answers
  int64_t strict = 0;
  int64_t identical_to_first = 0;      // answers that equal the first run's, byte by byte
  int64_t references = 0;              // items with a reference completion
  int64_t identical_to_reference = 0;  // and the answers that equal it

  double FlexibleShare() const;
  double StrictShare() const;
};

// `first`: the answers to compare with. All three have one entry for each item.
EvalScore ScoreRun(const std::vector<EvalItem>& items, const std::vector<std::string>& answers,
                   const std::vector<std::string>& first);

// The heading and one line for each backend, each ending with '\n'.
std::string TableHeading(bool with_references);
std::string TableRow(const EvalRun& run, const EvalScore& score, bool with_references);

nlohmann::ordered_json ToJson(const EvalRun& run, const EvalScore& score);

}  // namespace tessera
