// UTF-8 and the few properties of Unicode that tokenizers ask for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tessera::tokenization {

inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// How many bytes the character at the start of `text` takes. `text` is valid UTF-8, not empty.
size_t CharLength(std::string_view text);

// Takes one character off the front of valid, non-empty UTF-8.
char32_t TakeChar(std::string_view* text);

void AppendUtf8(char32_t c, std::string* out);

// Turns any bytes into valid UTF-8. Every maximal run of bytes that begins a character and is not
// continued becomes one U+FFFD, which is what Python's errors="replace" and the WHATWG standard do.
// Bytes may arrive in pieces: a character that is cut waits for its rest.
class Utf8Repair {
 public:
  void Append(std::string_view bytes, std::string* out);
  void Finish(std::string* out);  // an unfinished character becomes U+FFFD

 private:
  std::string pending_;  // at most three bytes between calls
};

bool IsValidUtf8(std::string_view bytes);

// The property White_Space: what \s means in Oniguruma and in Rust.
bool IsWhitespace(char32_t c);

// \w as Rust's `regex` defines it: Alphabetic, Mark, Decimal_Number, Connector_Punctuation and
// Join_Control.
bool IsWord(char32_t c);

bool IsMark(char32_t c);

// The full lower-case mapping of one character, without regard to its neighbours.
void AppendLowercase(char32_t c, std::string* out);

enum class NormalForm : uint8_t { kNfc, kNfd, kNfkc, kNfkd };

// Of valid UTF-8. O(n log n), also for long runs of combining marks.
std::string Normalize(std::string_view text, NormalForm form);

}  // namespace tessera::tokenization
