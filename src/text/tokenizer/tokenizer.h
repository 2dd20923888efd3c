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

// Byte-pair tokenizers: byte-level ones (GPT-2, Llama 3, Qwen) and those that SentencePiece trained
// (Llama 2, Mistral). Immutable after loading; every member function may be called from any thread.
class Tokenizer {
 public:
  // Reads DIR/tokenizer.json; special tokens and chat template from DIR/tokenizer_config.json, and
  // the template rather from DIR/chat_template.jinja, if these exist. kNotFound without a
  // tokenizer.json, kUnsupported for a component that is not known here, kCorrupt for damage.
  static Result<std::unique_ptr<Tokenizer>> Load(const std::string& directory);
  static Result<std::unique_ptr<Tokenizer>> Parse(std::string_view tokenizer_json,
                                                  std::string_view tokenizer_config_json = {});
  ~Tokenizer();

  // With add_special_tokens the post-processor's template applies (a leading BOS, mostly). Text of
  // special tokens inside `text` becomes those tokens, as in `tokenizers`. Bytes that are no UTF-8
  // count as U+FFFD. O(n log n); truncation and padding that the file may ask for do not apply.
  std::vector<int32_t> Encode(std::string_view text, bool add_special_tokens = true) const;

  // Always valid UTF-8. Ids that no token has are left out.
  std::string Decode(std::span<const int32_t> ids, bool skip_special_tokens = true) const;

  // The token's own text (vocabulary form decoded to bytes; may be a part of a character). Leading
  // spaces stay. "" if no token has the id.
  std::string TokenBytes(int32_t id) const;
  std::optional<int32_t> TokenId(std::string_view content) const;
  bool IsSpecial(int32_t id) const;
  int64_t vocab_size() const;  // highest id + 1

  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;
  const std::string& bos_token() const;  // "" if there is none
  const std::string& eos_token() const;
  const std::string& chat_template() const;  // "" if there is none

  // Decodes token by token: Append returns the text that has become certain, whole UTF-8 characters
  // only; the concatenation of all of it and Finish() equals Decode() of all tokens. If a token
  // may still change what is before it (bytes of an unfinished character, a run of byte-fallback
  // tokens), that waits. Each call costs the same, however long the text is. Not thread-safe.
  class StreamDecoder {
   public:
    // `tokenizer` outlives it.
    explicit StreamDecoder(const Tokenizer* tokenizer, bool skip_special_tokens = true);
    ~StreamDecoder();
    StreamDecoder(StreamDecoder&& other) noexcept;
    StreamDecoder& operator=(StreamDecoder&& other) noexcept;

    std::string Append(int32_t id);
    std::string Finish();  // what is left, an unfinished character as U+FFFD; nothing may follow

   private:
    struct State;
    std::unique_ptr<State> state_;
  };

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera
