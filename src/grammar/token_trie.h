// The texts of a vocabulary's tokens as a tree of bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tessera::grammar {

// Immutable, thread-safe.
class TokenTrie {
 public:
  // In the order of a walk that visits every node before those below it.
  struct Node {
    int32_t end = 0;          // the first node that is not below this one
    int32_t first_token = 0;  // of tokens(): those of this node and of all below it begin here
    int32_t own_tokens = 0;   // whose texts end here
    uint16_t depth = 0;       // bytes from the root, 1 and more
    uint8_t byte = 0;
    bool plain_below = false;  // all bytes below are printable ASCII without '"' and '\'
  };

  // `texts` [vocabulary]: the bytes of each token; those of empty texts are never chosen, nor are
  // those longer than 65535 bytes.
  explicit TokenTrie(const std::vector<std::string>& texts);

  std::span<const Node> nodes() const { return nodes_; }
  std::span<const int32_t> tokens() const { return tokens_; }  // in the order of their texts
  // The tokens of the node and of all below it.
  std::span<const int32_t> TokensFrom(size_t node) const;
  const std::string& TextOf(int32_t token) const { return texts_[static_cast<size_t>(token)]; }
  int64_t vocab_size() const { return static_cast<int64_t>(texts_.size()); }

  // Whether the byte counts for plain_below.
  static bool IsPlain(uint8_t byte) {
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
  }

 private:
  std::vector<std::string> texts_;
  std::vector<int32_t> tokens_;
  std::vector<Node> nodes_;
};

}  // namespace tessera::grammar
