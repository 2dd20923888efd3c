// What a Tokenizer holds.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "text/tokenizer/added_tokens.h"
#include "text/tokenizer/bpe.h"
#include "text/tokenizer/decoder.h"
#include "text/tokenizer/normalizer.h"
#include "text/tokenizer/post_processor.h"
#include "text/tokenizer/pre_tokenizer.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/tokenizer_config.h"

namespace tessera {

struct Tokenizer::Impl {
  struct Token {
    std::string text;  // as in the vocabulary
    bool exists = false;
    bool special = false;
    bool added = false;
  };

  // The token of `id`, or null.
  const Token* Find(int32_t id) const {
    if (id < 0 || static_cast<size_t>(id) >= tokens.size()) return nullptr;
    const Token& token = tokens[static_cast<size_t>(id)];
    return token.exists ? &token : nullptr;
  }

  // Encodes text between added tokens that are looked for before normalisation.
  void EncodeSection(std::string_view text, bool at_start, std::vector<int32_t>* ids) const;

  std::vector<Token> tokens;  // by id
  std::unordered_map<std::string, int32_t> added_ids;
  tokenization::AddedTokenFinder raw_finder;         // in the text as it comes
  tokenization::AddedTokenFinder normalized_finder;  // in normalised text
  tokenization::Normalizer normalizer;
  tokenization::PreTokenizer pre_tokenizer;
  std::unique_ptr<tokenization::Bpe> bpe;
  tokenization::PostProcessor post_processor;
  std::vector<tokenization::DecoderStep> decoder;
  bool has_decoder = false;
  tokenization::TokenizerConfig config;
};

}  // namespace tessera
