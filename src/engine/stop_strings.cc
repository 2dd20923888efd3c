#include "engine/stop_strings.h"

#include <algorithm>
#include <utility>

namespace tessera {

StopStrings::StopStrings(const std::vector<std::string>& strings) {
  for (const std::string& pattern : strings) {
    Automaton automaton{pattern, std::vector<size_t>(pattern.size() + 1, 0)};
    size_t border = 0;
    for (size_t i = 1; i < pattern.size(); ++i) {
      while (border > 0 && pattern[i] != pattern[border]) border = automaton.fallback[border];
      if (pattern[i] == pattern[border]) ++border;
      automaton.fallback[i + 1] = border;
    }
    automata_.push_back(std::move(automaton));
  }
}

bool StopStrings::Automaton::Step(char c) {
  while (matched > 0 && pattern[matched] != c) matched = fallback[matched];
  if (pattern[matched] == c) ++matched;
  return matched == pattern.size();
}

std::string StopStrings::Append(std::string_view text) {
  if (stopped_) return {};
  if (automata_.empty()) return std::string(text);
  size_t longest = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    size_t complete = 0;
    longest = 0;
    for (Automaton& automaton : automata_) {
      if (automaton.Step(text[i])) complete = std::max(complete, automaton.pattern.size());
      longest = std::max(longest, automaton.matched);
    }
    if (complete == 0) continue;
    stopped_ = true;
    std::string certain = std::exchange(held_, {});
    certain.append(text.substr(0, i + 1));
    certain.resize(certain.size() - complete);
    return certain;
  }
  if (text.empty()) return {};
  held_.append(text);
  std::string certain = held_.substr(0, held_.size() - longest);
  held_.erase(0, certain.size());
  return certain;
}

std::string StopStrings::AppendUnsearched(std::string_view text) {
  if (stopped_) return {};
  for (Automaton& automaton : automata_) automaton.matched = 0;
  return std::exchange(held_, {}).append(text);
}

std::string StopStrings::Finish() {
  for (Automaton& automaton : automata_) automaton.matched = 0;
  return std::exchange(held_, {});
}

}  // namespace tessera
