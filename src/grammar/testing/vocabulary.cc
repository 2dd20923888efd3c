#include "grammar/testing/vocabulary.h"

#include <iterator>

namespace tessera::testing {

std::vector<std::string> SmallVocabulary(size_t size, std::mt19937* random) {
  std::vector<std::string> texts;
  for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  const std::string pieces[] = {
      "\"",     "\": ",     "\", \"",   "{\"",   "}",     "[",    "]",  ", ", ": ",
      "true",   "null",     " ",        "\n  ",  "a",     "the",  "12", "-",  "0.",
      "\u00e4", "\xf0\x9f", "\x98\x80", "label", "\\u00", "\\\"", "e",  "n1"};
  texts.emplace_back("");  // an end token
  while (texts.size() < size) {
    std::string text;
    for (unsigned count = 1 + (*random)() % 3; count > 0; --count) {
      text += pieces[(*random)() % std::size(pieces)];
    }
    texts.push_back(text);
  }
  return texts;
}

std::vector<std::string> LargeVocabulary(std::mt19937* random) {
  constexpr size_t kSize = 128'000, kLongestRun = 64;
  std::vector<std::string> texts = SmallVocabulary(2000, random);
  for (const char c : {' ', 'a', 'b', '0', '-', '\n', '('}) {
    for (size_t length = 2; length <= kLongestRun; ++length) texts.emplace_back(length, c);
  }
  for (int number = 0; number < 1000; ++number) texts.push_back(std::to_string(number));
  while (texts.size() < kSize) {
    std::string text = (*random)() % 2 == 0 ? " " : "";
    for (unsigned count = 2 + (*random)() % 9; count > 0; --count) {
      const char first = (*random)() % 12 == 0 ? 'A' : 'a';
      text += static_cast<char>(first + static_cast<char>((*random)() % 26));
    }
    texts.push_back(text);
  }
  return texts;
}

}  // namespace tessera::testing
