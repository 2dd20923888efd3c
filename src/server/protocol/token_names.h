// Tokens as log probabilities name them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer/tokenizer.h"

namespace tessera {

// Log probabilities in answers are at least this: JSON has no infinity.
constexpr double kLeastLogprob = -9999.0;
double PrintableLogprob(float logprob);

// How one request wants tokens to be named.
class TokenNames {
 public:
  // `tokenizer` may be null; it outlives this.
  TokenNames(const Tokenizer* tokenizer, bool as_ids) : tokenizer_(tokenizer), as_ids_(as_ids) {}

  // The token's text; "bytes:\xe2\x80" if that is no whole character; "token_id:7" if it has
  // no text, or ids are wanted. Different tokens of a vocabulary mostly have different names.
  std::string Name(int32_t token) const;

  // The token's own bytes.
  std::string Bytes(int32_t token) const;

  // Characters that the token adds to the text: of a part of a character the one that begins in it.
  int64_t NumCharacters(int32_t token) const;
  bool IsSpecial(int32_t token) const;

 private:
  const Tokenizer* tokenizer_;
  bool as_ids_;
};

// Characters of valid UTF-8; of a piece of it those that begin there.
int64_t CountCharacters(std::string_view text);

}  // namespace tessera
