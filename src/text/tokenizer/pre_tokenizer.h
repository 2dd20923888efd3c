// Pre-tokenizers: they cut text into words, across whose borders nothing is merged.
//
// All of them come down to three steps: splitting at the matches of a pattern, Metaspace's way of
// writing spaces, and the byte-level alphabet.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "text/tokenizer/regex.h"

namespace tessera::tokenization {

// What becomes of the matches that text is split at.
enum class SplitBehavior : uint8_t {
  kRemoved,
  kIsolated,
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous,  // neighbouring matches stay together
};

struct SplitStep {
  Regex pattern;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;  // the text between the matches counts as matched instead
};

enum class PrependScheme : uint8_t { kAlways, kFirst, kNever };

struct MetaspaceStep {
  std::string replacement;  // one character, for every space
  PrependScheme prepend = PrependScheme::kAlways;
  bool split = true;  // in front of every replacement
  Regex pattern;      // matches `replacement`
};

// Writes bytes as characters; a split by GPT-2's pattern, if it is wanted, is a SplitStep of its
// own between the two halves.
struct ByteLevelAlphabetStep {};
struct PrefixSpaceStep {};  // a space in front of each piece that does not begin with one

using PreTokenizerStep =
    std::variant<SplitStep, MetaspaceStep, ByteLevelAlphabetStep, PrefixSpaceStep>;

// The words of one piece of text.
struct Words {
  std::string text;
  std::vector<std::pair<size_t, size_t>> ranges;  // [begin, end) in text, ascending, none empty
  bool at_start = false;  // whether the first range begins where the whole input begins
};

// Immutable and thread-safe.
class PreTokenizer {
 public:
  PreTokenizer() = default;
  explicit PreTokenizer(std::vector<PreTokenizerStep> steps) : steps_(std::move(steps)) {}

  // Cuts valid UTF-8; `at_start` says whether it begins the whole input.
  Words Apply(std::string text, bool at_start) const;

 private:
  std::vector<PreTokenizerStep> steps_;
};

}  // namespace tessera::tokenization
