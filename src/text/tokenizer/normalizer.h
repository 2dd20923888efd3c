// Normalisers: what happens to text before it is split.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/tokenizer/regex.h"
#include "text/tokenizer/unicode.h"

namespace tessera::tokenization {

struct LowercaseStep {};
struct StripAccentsStep {};  // removes marks; makes sense after NFD
struct ByteLevelStep {};
struct StripStep {
  bool left = true;
  bool right = true;
};
struct PrependStep {
  std::string content;  // in front of any text that is not empty
};
struct ReplaceStep {
  Regex pattern;
  std::string content;
};
using NormalizerStep = std::variant<NormalForm, LowercaseStep, StripAccentsStep, ByteLevelStep,
                                    StripStep, PrependStep, ReplaceStep>;

// Immutable and thread-safe.
class Normalizer {
 public:
  Normalizer() = default;
  explicit Normalizer(std::vector<NormalizerStep> steps) : steps_(std::move(steps)) {}

  bool empty() const { return steps_.empty(); }

  // Of valid UTF-8, and so is the result. `*at_start`, if given, says whether the text begins
  // its input; it becomes false if the front is stripped.
  std::string Apply(std::string_view text, bool* at_start = nullptr) const;

 private:
  std::vector<NormalizerStep> steps_;
};

// Puts `content` in place of every match.
std::string ReplaceAll(std::string_view text, const Regex& pattern, std::string_view content);

}  // namespace tessera::tokenization
