#include "cli/eval/gsm8k.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "cli/eval/python_random.h"

namespace tessera {
namespace {

constexpr std::string_view kInvalid = "[invalid]";
constexpr std::string_view kMark = "#### ";
constexpr uint64_t kFewshotSeed = 1234;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNumberPart(char c) { return IsDigit(c) || c == '.' || c == ','; }
bool IsAmountPart(char c) { return IsNumberPart(c) || c == '$'; }

// Length of the run of characters that satisfy `part`, from `begin`.
size_t RunLength(std::string_view text, size_t begin, bool (*part)(char)) {
  size_t end = begin;
  while (end < text.size() && part(text[end])) ++end;
  return end - begin;
}

Status ForEachLine(std::string_view text, const std::string& name,
                   const std::function<Status(const nlohmann::json&, const std::string&)>& take) {
  int64_t number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = name + ", line " + std::to_string(number);
    const nlohmann::json value = nlohmann::json::parse(line, nullptr, false);
    if (!value.is_object()) {
      return Corrupt(where + ": not a JSON object; the file must hold one object a line");
    }
    TESSERA_RETURN_IF_ERROR(take(value, where));
  }
  return {};
}

Result<std::string> StringOf(const nlohmann::json& object, const char* key,
                             const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) {
    return Corrupt(where + ": needs a string \"" + key + "\"");
  }
  return found->get<std::string>();
}

}  // namespace

std::vector<std::string> Gsm8kStops() { return {"Question:", "</s>", "<|im_end|>"}; }

Result<std::vector<Problem>> ParseProblems(std::string_view json_lines, const std::string& name) {
  std::vector<Problem> problems;
  TESSERA_RETURN_IF_ERROR(ForEachLine(
      json_lines, name, [&](const nlohmann::json& object, const std::string& where) -> Status {
        TESSERA_ASSIGN_OR_RETURN(std::string question, StringOf(object, "question", where));
        TESSERA_ASSIGN_OR_RETURN(std::string answer, StringOf(object, "answer", where));
        problems.push_back({std::move(question), std::move(answer)});
        return {};
      }));
  if (problems.empty()) return Corrupt(name + " holds no problems");
  return problems;
}

Result<std::vector<EvalItem>> MakeEvalItems(const std::vector<Problem>& tests,
                                            const std::vector<Problem>& shots, int32_t num_fewshot,
                                            int64_t limit) {
  if (num_fewshot < 0 || static_cast<size_t>(num_fewshot) > shots.size()) {
    return InvalidArgument(std::to_string(num_fewshot) +
                           " few-shot examples are asked for in each prompt, but " +
                           std::to_string(shots.size()) +
                           " are there to draw from; give more with --shots FILE, or set "
                           "--num-fewshot");
  }
  const size_t count =
      limit > 0 ? std::min(tests.size(), static_cast<size_t>(limit)) : tests.size();
  PythonRandom random(kFewshotSeed);
  std::vector<EvalItem> items(count);
  for (size_t i = 0; i < count; ++i) {
    for (const uint32_t shot :
         random.Sample(static_cast<uint32_t>(shots.size()), static_cast<uint32_t>(num_fewshot))) {
      items[i].prompt +=
          "Question: " + shots[shot].question + "\nAnswer: " + shots[shot].answer + "\n\n";
    }
    items[i].prompt += "Question: " + tests[i].question + "\nAnswer:";
    items[i].gold = tests[i].answer;
  }
  return items;
}

Result<std::vector<EvalItem>> ParseEvalItems(std::string_view json_lines, const std::string& name) {
  std::vector<EvalItem> items;
  TESSERA_RETURN_IF_ERROR(ForEachLine(
      json_lines, name, [&](const nlohmann::json& object, const std::string& where) -> Status {
        EvalItem item;
        TESSERA_ASSIGN_OR_RETURN(item.prompt, StringOf(object, "prompt", where));
        TESSERA_ASSIGN_OR_RETURN(item.gold, StringOf(object, "gold", where));
        if (object.contains("completion")) {
          TESSERA_ASSIGN_OR_RETURN(item.reference_completion,
                                   StringOf(object, "completion", where));
          item.has_reference = true;
        }
        items.push_back(std::move(item));
        return {};
      }));
  if (items.empty()) return Corrupt(name + " holds no prompts");
  return items;
}

// The harness's regular expression: #### (\-?[0-9\.\,]+)
std::string StrictMatch(std::string_view completion) {
  for (size_t at = completion.find(kMark); at != std::string_view::npos;
       at = completion.find(kMark, at + 1)) {
    const size_t begin = at + kMark.size();
    const size_t sign = begin < completion.size() && completion[begin] == '-' ? 1 : 0;
    const size_t run = RunLength(completion, begin + sign, IsNumberPart);
    if (run > 0) return std::string(completion.substr(begin, sign + run));
  }
  return std::string(kInvalid);
}

// The harness's regular expression: (-?[$0-9.,]{2,})|(-?[0-9]+), the last of all matches.
std::string FlexibleExtract(std::string_view completion) {
  std::string_view last = kInvalid;
  for (size_t at = 0; at < completion.size();) {
    const size_t sign = completion[at] == '-' ? 1 : 0;
    size_t run = RunLength(completion, at + sign, IsAmountPart);
    if (run < 2) run = RunLength(completion, at + sign, IsDigit);
    if (run == 0) {
      ++at;
      continue;
    }
    last = completion.substr(at, sign + run);
    at += sign + run;
  }
  return std::string(last);
}

std::string NormalizeAnswer(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == ',' || c == '$') continue;
    result += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  const size_t mark = result.rfind(kMark);
  if (mark != std::string::npos) result.erase(0, mark + kMark.size());
  // Python's "$" also stands before a newline that ends the text.
  if (result.ends_with('.')) {
    result.pop_back();
  } else if (result.ends_with(".\n")) {
    result.erase(result.size() - 2, 1);
  }
  return result;
}

bool SameAnswer(std::string_view found, std::string_view gold) {
  return NormalizeAnswer(found) == NormalizeAnswer(gold);
}

double StandardError(int64_t right, int64_t n) {
  if (n < 2) return 0;
  const double p = static_cast<double>(right) / static_cast<double>(n);
  return std::sqrt(p * (1 - p) / static_cast<double>(n - 1));
}

}  // namespace tessera
