// Decoders: from tokens back to text, one token at a time.
//
// A decoder is a chain of stages. Each takes tokens as text in pieces, with an end mark after each
// token, and hands on what can no longer change. So a text that is decoded as a stream and one that
// is decoded at once go through the same code and cannot differ.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/tokenizer/regex.h"

namespace tessera::tokenization {

struct ByteLevelDecoder {};  // the byte-level alphabet; all tokens become one
struct MetaspaceDecoder {
  std::string replacement;  // one character, written as a space
  bool strip_first = true;  // but left out of the first token
};
struct ReplaceDecoder {
  Regex pattern;
  std::string literal;  // the text that `pattern` matches, if it is no regular expression
  std::string content;
};
struct ByteFallbackDecoder {};  // tokens like <0xE2>, as many as stand in a row
struct FuseDecoder {};          // all tokens become one
struct StripDecoder {
  std::string content;  // one character
  int64_t start = 0;    // at most so many of them go from a token's beginning
  int64_t stop = 0;     // and from its end
};
struct WordSuffixDecoder {
  std::string suffix;  // written as a space, but left out of the last token
};
using DecoderStep = std::variant<ByteLevelDecoder, MetaspaceDecoder, ReplaceDecoder,
                                 ByteFallbackDecoder, FuseDecoder, StripDecoder, WordSuffixDecoder>;

class DecodeStage {
 public:
  virtual ~DecodeStage() = default;
  virtual void Text(std::string_view text) = 0;  // whole characters, a part of the current token
  virtual void EndToken() = 0;
  virtual void Finish() = 0;  // no token follows
};

// One text being decoded. Not thread-safe.
class DecodeStream {
 public:
  // An absent decoder joins the tokens with spaces. `steps` outlives the stream.
  DecodeStream(const std::vector<DecoderStep>& steps, bool absent);

  void Append(std::string_view token);
  void Finish();
  std::string TakeText();  // what has become certain since the last call; whole characters

 private:
  std::unique_ptr<std::string> text_;                 // the last stage writes here
  std::vector<std::unique_ptr<DecodeStage>> stages_;  // the first one comes last
};

// What one token stands for by itself, as bytes: stages that depend on its neighbours, such as the
// stripping of a leading space, are left out.
std::string DecodeToken(const std::vector<DecoderStep>& steps, std::string_view token);

// The byte of a token like <0xE2>, else -1.
int ParseByteToken(std::string_view token);

}  // namespace tessera::tokenization
