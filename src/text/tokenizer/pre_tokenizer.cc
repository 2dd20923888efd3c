#include "text/tokenizer/pre_tokenizer.h"

#include "text/tokenizer/byte_level.h"
#include "text/tokenizer/split.h"

namespace tessera::tokenization {
namespace {

// Rewrites every piece: rewrite(piece, is_first, &text) appends its new form.
template <typename Rewrite>
void RewritePieces(Words* words, Rewrite rewrite) {
  std::string text;
  text.reserve(words->text.size() + words->text.size() / 4 + 16);
  const std::string_view old = words->text;
  bool first = true;
  for (auto& [begin, end] : words->ranges) {
    const size_t new_begin = text.size();
    rewrite(old.substr(begin, end - begin), first, &text);
    begin = new_begin;
    end = text.size();
    first = false;
  }
  words->text = std::move(text);
}

void Apply(const SplitStep& step, Words* words) {
  std::vector<std::pair<size_t, size_t>> pieces;
  pieces.reserve(words->ranges.size() + words->text.size() / 4);
  for (const auto& [begin, end] : words->ranges) Split(step, words->text, begin, end, &pieces);
  if (pieces.empty() || pieces[0].first != words->ranges[0].first) words->at_start = false;
  words->ranges = std::move(pieces);
}

void Apply(const MetaspaceStep& step, Words* words) {
  RewritePieces(words, [&](std::string_view piece, bool first, std::string* out) {
    const bool has_prefix = piece[0] == ' ' || piece.starts_with(step.replacement);
    const bool wanted = step.prepend == PrependScheme::kAlways ||
                        (step.prepend == PrependScheme::kFirst && first && words->at_start);
    if (wanted && !has_prefix) *out += step.replacement;
    for (const char c : piece) {
      if (c == ' ') {
        *out += step.replacement;
      } else {
        out->push_back(c);
      }
    }
  });
  if (step.split) Apply(SplitStep{step.pattern, SplitBehavior::kMergedWithNext, false}, words);
}

void Apply(const PrefixSpaceStep&, Words* words) {
  RewritePieces(words, [](std::string_view piece, bool, std::string* out) {
    if (piece[0] != ' ') out->push_back(' ');
    *out += piece;
  });
}

void Apply(const ByteLevelAlphabetStep&, Words* words) {
  RewritePieces(
      words, [](std::string_view piece, bool, std::string* out) { AppendByteLevel(piece, out); });
}

}  // namespace

Words PreTokenizer::Apply(std::string text, bool at_start) const {
  Words words;
  words.text = std::move(text);
  words.at_start = at_start;
  if (!words.text.empty()) words.ranges.emplace_back(0, words.text.size());
  for (const PreTokenizerStep& step : steps_) {
    if (words.ranges.empty()) break;
    std::visit([&](const auto& s) { tokenization::Apply(s, &words); }, step);
  }
  return words;
}

}  // namespace tessera::tokenization
