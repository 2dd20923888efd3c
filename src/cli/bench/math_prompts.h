// Prompts for measurements that depend on what a text says: the arithmetic problems beside a model.
#pragma once

#include <string>
#include <vector>

#include "cli/eval/gsm8k.h"
#include "tessera/result.h"

namespace tessera {

struct MathProblems {
  std::vector<Problem> solved;  // for the beginnings of prompts
  std::vector<Problem> open;    // to be asked
};

// From data/train.jsonl and data/test.jsonl in the model's directory.
Result<MathProblems> LoadMathProblems(const std::string& model_directory);

// "Question: ...\nAnswer: ...\n\n" for each of the first `count` solved problems, the same for all
// who ask, as the task gsm8k_cot has it.
std::string FixedShots(const MathProblems& problems, size_t count);

// "Question: ...\nAnswer:"
std::string Ask(const Problem& problem);

}  // namespace tessera
