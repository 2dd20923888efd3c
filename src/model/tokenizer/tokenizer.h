// tokenizer.json: text to token ids and back, as Hugging Face's `tokenizers` does it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/result.h"

namespace tessera {

// Immutable after loading; every member function may be called from any thread.
class Tokenizer {
 public:
  // Reads DIR/tokenizer.json (and special tokens from DIR/tokenizer_config.json where it exists).
  static Result<std::unique_ptr<Tokenizer>> Load(const std::string& directory);
  static Result<std::unique_ptr<Tokenizer>> Parse(std::string_view tokenizer_json,
                                                  std::string_view tokenizer_config_json = {});
  ~Tokenizer();

  // With add_special_tokens the post-processor's template applies (a leading BOS, mostly). Text of
  // special tokens inside `text` becomes those tokens, as in `tokenizers`. Bytes that are no UTF-8
  // count as U+FFFD.
  std::vector<int32_t> Encode(std::string_view text, bool add_special_tokens = true) const;

  std::string Decode(std::span<const int32_t> ids, bool skip_special_tokens = true) const;

  // The token's own text (vocabulary form decoded to bytes; may be a part of a character).
  std::string TokenBytes(int32_t id) const;
  std::optional<int32_t> TokenId(std::string_view content) const;
  bool IsSpecial(int32_t id) const;
  int64_t vocab_size() const;  // highest id + 1

  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;
  const std::string& bos_token() const;  // "" where there is none
  const std::string& eos_token() const;
  const std::string& chat_template() const;  // "" where there is none

  // Decodes token by token: Append returns the text that has become certain, whole UTF-8 characters
  // only; the concatenation of all of it and Finish() equals Decode() of all tokens.
  class StreamDecoder {
   public:
    explicit StreamDecoder(const Tokenizer* tokenizer, bool skip_special_tokens = true);
    std::string Append(int32_t id);
    std::string Finish();  // what is left, an unfinished character as U+FFFD

   private:
    const Tokenizer* tokenizer_;
    bool skip_special_tokens_;
    std::vector<int32_t> ids_;
    size_t prefix_ = 0;  // first id of the window that is decoded anew
    size_t read_ = 0;    // ids whose text has been given out
  };

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera
