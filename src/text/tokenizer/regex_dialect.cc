#include "text/tokenizer/regex_dialect.h"

#include <algorithm>
#include <array>

namespace tessera::tokenization {
namespace {

// Inside a class. The six characters of Latin-1 are superscripts and fractions, no words by
// Unicode.
constexpr std::string_view kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\xB2\\xB3\\xB9\\xBC-\\xBE";
constexpr std::string_view kBoundary = "(?:(?<=[W])(?![W])|(?<![W])(?=[W]))";
constexpr std::string_view kNoBoundary = "(?:(?<=[W])(?=[W])|(?<![W])(?![W]))";

std::string WithWord(std::string_view pattern) {
  std::string out;
  for (const char c : pattern) {
    if (c == 'W') {
      out += kWord;
    } else {
      out += c;
    }
  }
  return out;
}

// Whether `rest` begins with the name of one of the scripts that patterns of tokenizers use.
bool IsScript(std::string_view rest) {
  constexpr std::array<std::string_view, 14> kScripts = {
      "Han",  "Hiragana", "Katakana",   "Hangul",  "Latin", "Cyrillic", "Greek",
      "Thai", "Arabic",   "Devanagari", "Bengali", "Tamil", "Hebrew",   "Armenian"};
  const std::string_view name = rest.substr(0, rest.find('}'));
  return std::find(kScripts.begin(), kScripts.end(), name) != kScripts.end();
}

Error NotSupported(std::string_view what, std::string_view pattern) {
  return Unsupported("The regular expression \"" + std::string(pattern) + "\" uses " +
                     std::string(what) + ", which has no counterpart here; rewrite it without.");
}

}  // namespace

Result<std::string> TranslateOniguruma(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      switch (escaped) {
        case 's':
          out += "\\p{White_Space}";
          break;
        case 'S':
          out += "\\P{White_Space}";
          break;
        case 'w':
          out += in_class ? std::string(kWord) : "[" + std::string(kWord) + "]";
          break;
        case 'W':
          if (in_class) return NotSupported("\\W inside a class", pattern);
          out += "[^" + std::string(kWord) + "]";
          break;
        case 'h':
          out += in_class ? "0-9a-fA-F" : "[0-9a-fA-F]";
          break;
        case 'H':
          if (in_class) return NotSupported("\\H inside a class", pattern);
          out += "[^0-9a-fA-F]";
          break;
        case 'b':
          out += in_class ? "\\b" : WithWord(kBoundary);
          break;
        case 'B':
          out += WithWord(kNoBoundary);
          break;
        case 'u':
          out += "\\x{" + std::string(pattern.substr(i + 1, 4)) + "}";
          i += 4;
          break;
        case 'p':
        case 'P': {
          out += c;
          out += escaped;
          // PCRE2 takes a script's name for Script_Extensions, which is a larger set.
          const bool script = pattern.substr(i + 1, 1) == "{" && IsScript(pattern.substr(i + 2));
          if (script) {
            out += "{sc:";
            ++i;
          }
          break;
        }
        default:
          out += c;
          out += escaped;
      }
      continue;
    }
    out += c;
    if (!in_class && c == '[') {
      in_class = true;
      // A closing bracket in first place, after a negation too, is an ordinary character.
      if (pattern.substr(i + 1, 1) == "^") out += pattern[++i];
      if (pattern.substr(i + 1, 1) == "]") out += pattern[++i];
    } else if (in_class && c == ']') {
      in_class = false;
    } else if (in_class && c == '[') {
      const size_t end = pattern.find(":]", i);
      if (pattern.substr(i + 1, 1) != ":" || end == std::string_view::npos) {
        return NotSupported("a class inside a class", pattern);
      }
      out += pattern.substr(i + 1, end + 1 - i);
      i = end + 1;
    } else if (in_class && pattern.substr(i, 2) == "&&") {
      return NotSupported("an intersection of classes", pattern);
    }
  }
  return out;
}

}  // namespace tessera::tokenization
