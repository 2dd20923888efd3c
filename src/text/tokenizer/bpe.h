// Byte-pair encoding: a word's characters become tokens, and neighbouring tokens are merged in the
// order that training fixed.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tessera/result.h"
#include "text/tokenizer/merge_table.h"
#include "text/tokenizer/word_cache.h"

namespace tessera::tokenization {

// What tokenizer.json says about the model. Texts are valid UTF-8, ids at least 0.
struct BpeConfig {
  std::vector<std::pair<std::string, int32_t>> vocabulary;
  std::vector<std::pair<std::string, std::string>> merges;  // the first one goes first
  std::string unk_token;                                    // "": unknown characters are left out
  std::string continuing_subword_prefix;  // in front of every character but a word's first
  std::string end_of_word_suffix;         // after a word's last character
  bool fuse_unk = false;                  // unknown characters in a row are one unk_token
  bool byte_fallback = false;             // unknown characters become tokens like <0xE2>
  bool ignore_merges = false;             // a word that is in the vocabulary is that token
};

// Immutable but for its cache; thread-safe.
class Bpe {
 public:
  // Refuses merges and an unk_token whose tokens are not in the vocabulary.
  static Result<std::unique_ptr<Bpe>> Create(BpeConfig config);

  // Appends the tokens of one word, valid UTF-8. O(n log n) for a word of n characters.
  void Encode(std::string_view word, std::vector<int32_t>* ids) const;

  std::optional<int32_t> TokenId(std::string_view token) const;

 private:
  explicit Bpe(BpeConfig config);
  Status AddMerges();

  // The tokens of the word's characters, before any merge.
  std::vector<int32_t> Characters(std::string_view word) const;
  int32_t CharacterId(std::string_view character) const;  // -1: not in the vocabulary

  void MergeShort(std::vector<int32_t>* symbols) const;
  void MergeLong(std::vector<int32_t>* symbols) const;

  BpeConfig config_;
  std::unordered_map<std::string_view, int32_t> ids_;  // views of config_.vocabulary
  MergeTable merges_;
  std::array<int32_t, 0x400> small_characters_;  // the ids of U+0000 .. U+03FF; -1: none
  std::array<int32_t, 256> byte_tokens_;         // the ids of <0x00> .. <0xFF>; -1: none
  int32_t unk_id_ = -1;
  WordCache cache_;
};

}  // namespace tessera::tokenization
