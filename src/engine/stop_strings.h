// Stop strings, matched on a stream of text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

// Passes text through up to the first stop string, however the text is cut into pieces: the match
// that is complete first counts, the longest of those that are complete with the same byte. Text
// that may be the beginning of a stop string is held back. One automaton (Knuth, Morris, Pratt) for
// each string: linear in the text. Not thread-safe.
class StopStrings {
 public:
  // `strings` are not empty and do not begin in the middle of a UTF-8 character.
  explicit StopStrings(const std::vector<std::string>& strings);

  // The text that is certain to precede every stop string. Nothing once stopped().
  std::string Append(std::string_view text);

  // Text in which no stop string may begin: passed through, with all that was held back.
  std::string AppendUnsearched(std::string_view text);

  // What is still held back: the stream is over.
  std::string Finish();

  bool stopped() const { return stopped_; }

 private:
  struct Automaton {
    std::string pattern;
    std::vector<size_t> fallback;  // [i]: longest border of the first i bytes
    size_t matched = 0;            // bytes of the pattern that end the text so far

    bool Step(char c);  // true: the pattern is complete
  };

  std::vector<Automaton> automata_;
  std::string held_;  // as long as the longest partial match
  bool stopped_ = false;
};

}  // namespace tessera
