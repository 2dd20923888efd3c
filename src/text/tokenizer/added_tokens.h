// Added tokens: texts that become one token wherever they stand, before anything else is done.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer/normalizer.h"

namespace tessera::tokenization {

struct AddedToken {
  int32_t id = -1;
  std::string content;       // not empty
  bool special = false;      // decoding may skip it
  bool normalized = false;   // looked for in normalised text, in its own normalised form
  bool lstrip = false;       // takes the white space to its left along
  bool rstrip = false;       // and that to its right
  bool single_word = false;  // only if no word character touches it
};

// Finds a set of tokens in text: leftmost first, the longest of those that begin together.
// Immutable once filled, and thread-safe.
class AddedTokenFinder {
 public:
  // Empty texts are left out: they would be everywhere.
  void Add(std::string_view text, const AddedToken& token);

  // Calls visit(piece, id) for everything that `text` consists of, from left to right; id is -1 for
  // a piece between tokens. Empty pieces are left out.
  void Split(std::string_view text,
             const std::function<void(std::string_view piece, int32_t id)>& visit) const;

 private:
  struct Rule {
    int32_t id = -1;
    bool lstrip = false;
    bool rstrip = false;
    bool single_word = false;
  };
  struct Node {
    int32_t rule = -1;
    int32_t depth = 0;
  };

  const Node* LongestMatch(std::string_view text) const;

  std::vector<Rule> rules_;
  std::vector<Node> nodes_ = {Node{}};           // a trie over bytes; 0 is its root
  std::unordered_map<uint64_t, int32_t> edges_;  // node * 256 + byte -> node
  std::array<bool, 256> is_first_byte_ = {};
};

}  // namespace tessera::tokenization
