#include "text/tokenizer/added_tokens.h"

#include <algorithm>

#include "text/tokenizer/unicode.h"

namespace tessera::tokenization {
namespace {

// The last character of valid, non-empty UTF-8; `begin` receives its first byte.
char32_t LastChar(std::string_view text, size_t* begin) {
  *begin = text.size() - 1;
  while ((static_cast<uint8_t>(text[*begin]) & 0xC0) == 0x80) --*begin;
  std::string_view character = text.substr(*begin);
  return TakeChar(&character);
}

bool StartsWithWord(std::string_view text) { return !text.empty() && IsWord(TakeChar(&text)); }

bool EndsWithWord(std::string_view text) {
  size_t begin = 0;
  return !text.empty() && IsWord(LastChar(text, &begin));
}

// Where the white space at the end of text[0, end) begins; not before `floor`.
size_t SkipSpaceLeft(std::string_view text, size_t end, size_t floor) {
  while (end > floor) {
    size_t begin = 0;
    if (!IsWhitespace(LastChar(text.substr(0, end), &begin))) break;
    end = begin;
  }
  return end;
}

size_t SkipSpaceRight(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    std::string_view rest = text.substr(begin);
    if (!IsWhitespace(TakeChar(&rest))) break;
    begin = text.size() - rest.size();
  }
  return begin;
}

}  // namespace

void AddedTokenFinder::Add(std::string_view text, const AddedToken& token) {
  if (text.empty()) return;
  is_first_byte_[static_cast<uint8_t>(text[0])] = true;
  int32_t node = 0;
  for (const char c : text) {
    const uint64_t edge = static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(c);
    const auto [it, inserted] = edges_.try_emplace(edge, static_cast<int32_t>(nodes_.size()));
    const int32_t depth = nodes_[static_cast<size_t>(node)].depth + 1;
    if (inserted) nodes_.push_back(Node{-1, depth});
    node = it->second;
  }
  Node& last = nodes_[static_cast<size_t>(node)];
  if (last.rule >= 0) return;  // two tokens of one normalised form: the first one counts
  last.rule = static_cast<int32_t>(rules_.size());
  rules_.push_back(Rule{token.id, token.lstrip, token.rstrip, token.single_word});
}

const AddedTokenFinder::Node* AddedTokenFinder::LongestMatch(std::string_view text) const {
  const Node* longest = nullptr;
  int32_t node = 0;
  for (const char c : text) {
    const auto it = edges_.find(static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(c));
    if (it == edges_.end()) break;
    node = it->second;
    const Node& reached = nodes_[static_cast<size_t>(node)];
    if (reached.rule >= 0) longest = &reached;
  }
  return longest;
}

void AddedTokenFinder::Split(
    std::string_view text,
    const std::function<void(std::string_view piece, int32_t id)>& visit) const {
  size_t done = 0;
  size_t i = rules_.empty() ? text.size() : 0;
  while (i < text.size()) {
    const bool possible = is_first_byte_[static_cast<uint8_t>(text[i])];
    const Node* match = possible ? LongestMatch(text.substr(i)) : nullptr;
    if (match == nullptr) {
      ++i;
      continue;
    }
    const Rule& rule = rules_[static_cast<size_t>(match->rule)];
    size_t begin = i;
    size_t end = i + static_cast<size_t>(match->depth);
    i = end;
    if (rule.single_word &&
        (EndsWithWord(text.substr(0, begin)) || StartsWithWord(text.substr(end)))) {
      continue;
    }
    if (rule.lstrip) begin = SkipSpaceLeft(text, begin, std::min(begin, done));
    if (rule.rstrip) end = SkipSpaceRight(text, end);
    if (done < begin) visit(text.substr(done, begin - done), -1);
    visit(text.substr(begin, end - begin), rule.id);
    done = end;
  }
  if (done < text.size()) visit(text.substr(done), -1);
}

}  // namespace tessera::tokenization
