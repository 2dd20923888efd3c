#include "grammar/token_trie.h"

#include <algorithm>

namespace tessera::grammar {
namespace {

constexpr size_t kMaxTextBytes = 65535;

}  // namespace

TokenTrie::TokenTrie(const std::vector<std::string>& texts) : texts_(texts) {
  for (size_t i = 0; i < texts_.size(); ++i) {
    if (!texts_[i].empty() && texts_[i].size() <= kMaxTextBytes) {
      tokens_.push_back(static_cast<int32_t>(i));
    }
  }
  std::sort(tokens_.begin(), tokens_.end(), [this](int32_t a, int32_t b) {
    const int order = TextOf(a).compare(TextOf(b));
    return order != 0 ? order < 0 : a < b;
  });

  // The path to the text before; a new text leaves it where the two begin to differ.
  std::vector<size_t> path;
  const auto leave = [&](size_t depth) {
    while (path.size() > depth) {
      nodes_[path.back()].end = static_cast<int32_t>(nodes_.size());
      path.pop_back();
    }
  };
  for (size_t t = 0; t < tokens_.size(); ++t) {
    const std::string& text = TextOf(tokens_[t]);
    size_t common = 0;
    while (common < path.size() && common < text.size() &&
           nodes_[path[common]].byte == static_cast<uint8_t>(text[common])) {
      ++common;
    }
    leave(common);
    for (size_t depth = common; depth < text.size(); ++depth) {
      path.push_back(nodes_.size());
      nodes_.push_back({.first_token = static_cast<int32_t>(t),
                        .depth = static_cast<uint16_t>(depth + 1),
                        .byte = static_cast<uint8_t>(text[depth])});
    }
    ++nodes_[path.back()].own_tokens;
  }
  leave(0);

  // From the last node to the first: what is below a node comes after it.
  for (size_t i = nodes_.size(); i-- > 0;) {
    nodes_[i].plain_below = true;
    for (size_t child = i + 1; child < static_cast<size_t>(nodes_[i].end);
         child = static_cast<size_t>(nodes_[child].end)) {
      if (!IsPlain(nodes_[child].byte) || !nodes_[child].plain_below) nodes_[i].plain_below = false;
    }
  }
}

std::span<const int32_t> TokenTrie::TokensFrom(size_t node) const {
  const size_t begin = static_cast<size_t>(nodes_[node].first_token);
  const size_t next = static_cast<size_t>(nodes_[node].end);
  const size_t end =
      next < nodes_.size() ? static_cast<size_t>(nodes_[next].first_token) : tokens_.size();
  return std::span(tokens_).subspan(begin, end - begin);
}

}  // namespace tessera::grammar
