#include "text/tokenizer/normalizer.h"

#include "text/tokenizer/byte_level.h"

namespace tessera::tokenization {
namespace {

std::string_view StripLeft(std::string_view text) {
  while (!text.empty()) {
    std::string_view rest = text;
    if (!IsWhitespace(TakeChar(&rest))) break;
    text = rest;
  }
  return text;
}

std::string_view StripRight(std::string_view text) {
  while (!text.empty()) {
    size_t last = text.size() - 1;
    while ((static_cast<uint8_t>(text[last]) & 0xC0) == 0x80) --last;
    std::string_view character = text.substr(last);
    if (!IsWhitespace(TakeChar(&character))) break;
    text = text.substr(0, last);
  }
  return text;
}

// One overload per kind of step.
struct Apply {
  std::string_view text;
  bool* at_start;

  std::string operator()(NormalForm form) const { return Normalize(text, form); }

  std::string operator()(const LowercaseStep&) const {
    std::string out;
    out.reserve(text.size());
    for (std::string_view rest = text; !rest.empty();) AppendLowercase(TakeChar(&rest), &out);
    return out;
  }

  std::string operator()(const StripAccentsStep&) const {
    std::string out;
    out.reserve(text.size());
    for (std::string_view rest = text; !rest.empty();) {
      const char32_t c = TakeChar(&rest);
      if (!IsMark(c)) AppendUtf8(c, &out);
    }
    return out;
  }

  std::string operator()(const ByteLevelStep&) const {
    std::string out;
    AppendByteLevel(text, &out);
    return out;
  }

  std::string operator()(const StripStep& step) const {
    std::string_view rest = step.left ? StripLeft(text) : text;
    if (at_start != nullptr && rest.size() != text.size()) *at_start = false;
    return std::string(step.right ? StripRight(rest) : rest);
  }

  std::string operator()(const PrependStep& step) const {
    return text.empty() ? std::string() : step.content + std::string(text);
  }

  std::string operator()(const ReplaceStep& step) const {
    return ReplaceAll(text, step.pattern, step.content);
  }
};

}  // namespace

std::string Normalizer::Apply(std::string_view text, bool* at_start) const {
  std::string current(text);
  for (const NormalizerStep& step : steps_) {
    current = std::visit(tokenization::Apply{current, at_start}, step);
  }
  return current;
}

std::string ReplaceAll(std::string_view text, const Regex& pattern, std::string_view content) {
  std::string out;
  out.reserve(text.size());
  size_t done = 0;
  size_t begin = 0;
  size_t end = 0;
  for (Regex::Matches matches(pattern, text); matches.Next(&begin, &end);) {
    out += text.substr(done, begin - done);
    out += content;
    done = end;
  }
  out += text.substr(done);
  return out;
}

}  // namespace tessera::tokenization
