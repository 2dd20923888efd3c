// Stop strings, matched on a stream of text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace tessera {

// Finds all of a number of strings at once (Aho and Corasick). A state is the longest beginning of
// a string that ends the text so far. Size and time to make: linear in the strings. Immutable, so
// that the answers of a request share one.
class StopAutomaton {
 public:
  using State = int32_t;
  static constexpr State kStart = 0;

  explicit StopAutomaton(const std::vector<std::string>& strings);

  State Next(State state, char c) const;
  // Bytes of the state's text: the end of the text that may become a string.
  size_t length(State state) const { return nodes_[static_cast<size_t>(state)].length; }
  // Bytes of the longest string that is complete; 0: none is.
  size_t complete(State state) const { return nodes_[static_cast<size_t>(state)].complete; }

 private:
  struct Node {
    size_t length = 0;
    size_t complete = 0;
    State fallback = kStart;  // of the longest proper end of the text that is a state
  };

  State Child(State state, char c) const;  // -1: there is none
  State AddChild(State state, char c);
  void Link();

  std::vector<Node> nodes_;
  std::unordered_map<uint64_t, State> children_;  // by state and byte
};

// Passes text through up to the first stop string, however the text is cut into pieces: the match
// that is complete first counts, the longest of those that are complete with the same byte. Text
// that may be the beginning of a stop string is held back. Linear in the text. Not thread-safe.
class StopStrings {
 public:
  // Its strings do not begin in the middle of a UTF-8 character. Null: there are none. With
  // `keeps_match` the string that stops is a part of the text.
  explicit StopStrings(std::shared_ptr<const StopAutomaton> automaton, bool keeps_match = false);

  // The text that is certain to precede every stop string. Nothing once stopped().
  std::string Append(std::string_view text);

  // Text in which no stop string may begin: passed through, with all that was held back.
  std::string AppendUnsearched(std::string_view text);

  // What is still held back: the stream is over.
  std::string Finish();

  bool stopped() const { return stopped_; }
  const std::string& match() const { return match_; }  // the string that stopped it

 private:
  std::shared_ptr<const StopAutomaton> automaton_;
  bool keeps_match_;
  StopAutomaton::State state_ = StopAutomaton::kStart;
  std::string held_;  // as long as the state's text
  bool stopped_ = false;
  std::string match_;
};

}  // namespace tessera
