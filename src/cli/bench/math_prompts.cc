#include "cli/bench/math_prompts.h"

#include <algorithm>

#include "cli/text.h"

namespace tessera {

Result<MathProblems> LoadMathProblems(const std::string& model_directory) {
  MathProblems problems;
  const std::string data = model_directory + "/data/";
  TESSERA_ASSIGN_OR_RETURN(const std::string solved, ReadTextFile(data + "train.jsonl"));
  TESSERA_ASSIGN_OR_RETURN(problems.solved, ParseProblems(solved, data + "train.jsonl"));
  TESSERA_ASSIGN_OR_RETURN(const std::string open, ReadTextFile(data + "test.jsonl"));
  TESSERA_ASSIGN_OR_RETURN(problems.open, ParseProblems(open, data + "test.jsonl"));
  if (problems.solved.empty() || problems.open.empty()) {
    return InvalidArgument(data + " holds no problems; name a model that brings some with --model");
  }
  return problems;
}

std::string FixedShots(const MathProblems& problems, size_t count) {
  std::string text;
  for (size_t i = 0; i < std::min(count, problems.solved.size()); ++i) {
    text += Ask(problems.solved[i]) + " " + problems.solved[i].answer + "\n\n";
  }
  return text;
}

std::string Ask(const Problem& problem) { return "Question: " + problem.question + "\nAnswer:"; }

}  // namespace tessera
