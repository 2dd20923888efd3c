#include "text/tokenizer/component_reader.h"
#include "text/tokenizer/components.h"

namespace tessera::tokenization {
namespace {

constexpr std::string_view kWhere = "the pre_tokenizer";

// GPT-2's: contractions, words, numbers and the rest, each with a space in front, and white space.
constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// The word of Rust's `regex`, which knows Join_Control besides.
constexpr std::string_view kWhitespaceWords =
    R"([\w\x{200C}\x{200D}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200C}\x{200D}\p{White_Space}]+)";

constexpr std::string_view kPunctuation = R"([!-/:-@\x{5B}-`{-~\p{P}])";

class Reader {
 public:
  Status Read(Json json, const std::string& type) {
    if (type == "ByteLevel") return ByteLevel(json);
    if (type == "Metaspace") return Metaspace(json);
    if (type == "Split") return Split(json);
    if (type == "Punctuation") {
      TESSERA_ASSIGN_OR_RETURN(const SplitBehavior behavior, Behavior(json, "Isolated"));
      return AddSplit(kPunctuation, behavior);
    }
    if (type == "Digits") {
      TESSERA_ASSIGN_OR_RETURN(const bool single, BoolOr(json, "individual_digits", false, kWhere));
      return AddSplit("\\p{N}", single ? SplitBehavior::kIsolated : SplitBehavior::kContiguous);
    }
    if (type == "Whitespace") return AddSplit(kWhitespaceWords, SplitBehavior::kRemoved, true);
    if (type == "WhitespaceSplit") return AddSplit("\\s", SplitBehavior::kRemoved);
    if (type == "BertPreTokenizer") {
      TESSERA_RETURN_IF_ERROR(AddSplit("\\s", SplitBehavior::kRemoved));
      return AddSplit(kPunctuation, SplitBehavior::kIsolated);
    }
    if (type == "CharDelimiterSplit") {
      TESSERA_ASSIGN_OR_RETURN(const std::string text, CharacterAt(json, "delimiter", kWhere));
      TESSERA_ASSIGN_OR_RETURN(Regex regex, Regex::Literal(text));
      steps_.emplace_back(SplitStep{std::move(regex), SplitBehavior::kRemoved, false});
      return {};
    }
    return UnknownType("pre_tokenizer", type);
  }

  PreTokenizer Take() { return PreTokenizer(std::move(steps_)); }

 private:
  Status AddSplit(std::string_view pattern, SplitBehavior behavior, bool invert = false) {
    TESSERA_ASSIGN_OR_RETURN(Regex regex, Regex::Oniguruma(pattern));
    steps_.emplace_back(SplitStep{std::move(regex), behavior, invert});
    return {};
  }

  static Result<SplitBehavior> Behavior(Json json, std::string_view fallback) {
    TESSERA_ASSIGN_OR_RETURN(const std::string name, StringOr(json, "behavior", fallback, kWhere));
    if (name == "Removed") return SplitBehavior::kRemoved;
    if (name == "Isolated") return SplitBehavior::kIsolated;
    if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
    if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
    if (name == "Contiguous") return SplitBehavior::kContiguous;
    return UnknownType("pre_tokenizer behavior", name);
  }

  Status Split(Json json) {
    TESSERA_ASSIGN_OR_RETURN(Pattern pattern, ParsePattern(json, kWhere));
    TESSERA_ASSIGN_OR_RETURN(const SplitBehavior behavior, Behavior(json, ""));
    TESSERA_ASSIGN_OR_RETURN(const bool invert, BoolOr(json, "invert", false, kWhere));
    steps_.emplace_back(SplitStep{std::move(pattern.regex), behavior, invert});
    return {};
  }

  Status ByteLevel(Json json) {
    TESSERA_ASSIGN_OR_RETURN(const bool prefix, BoolOr(json, "add_prefix_space", true, kWhere));
    TESSERA_ASSIGN_OR_RETURN(const bool use_regex, BoolOr(json, "use_regex", true, kWhere));
    if (prefix) steps_.emplace_back(PrefixSpaceStep{});
    if (use_regex) TESSERA_RETURN_IF_ERROR(AddSplit(kGpt2, SplitBehavior::kIsolated));
    steps_.emplace_back(ByteLevelAlphabetStep{});
    return {};
  }

  // Files from before prepend_scheme have add_prefix_space, for always or never.
  Status Metaspace(Json json) {
    MetaspaceStep step;
    TESSERA_ASSIGN_OR_RETURN(step.replacement, CharacterAt(json, "replacement", kWhere));
    TESSERA_ASSIGN_OR_RETURN(const bool prefix, BoolOr(json, "add_prefix_space", true, kWhere));
    TESSERA_ASSIGN_OR_RETURN(const std::string scheme,
                             StringOr(json, "prepend_scheme", prefix ? "always" : "never", kWhere));
    if (scheme == "always") {
      step.prepend = PrependScheme::kAlways;
    } else if (scheme == "first") {
      step.prepend = PrependScheme::kFirst;
    } else if (scheme == "never") {
      step.prepend = PrependScheme::kNever;
    } else {
      return UnknownType("Metaspace prepend_scheme", scheme);
    }
    TESSERA_ASSIGN_OR_RETURN(step.split, BoolOr(json, "split", true, kWhere));
    TESSERA_ASSIGN_OR_RETURN(step.pattern, Regex::Literal(step.replacement));
    steps_.emplace_back(std::move(step));
    return {};
  }

  std::vector<PreTokenizerStep> steps_;
};

}  // namespace

Result<PreTokenizer> ParsePreTokenizer(Json json) {
  Reader reader;
  const auto read = [&](Json step, const std::string& type) { return reader.Read(step, type); };
  TESSERA_RETURN_IF_ERROR(ForEachComponent(json, "pretokenizers", "pre_tokenizer", read));
  return reader.Take();
}

}  // namespace tessera::tokenization
