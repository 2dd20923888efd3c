// The alphabet of byte-level BPE: every byte is written as one printable character, so that a
// vocabulary of text can hold any bytes.
//
// GPT-2 fixed the mapping: the printable characters of Latin-1 stand for themselves, the other 68
// bytes, in ascending order, are U+0100 and following.
#pragma once

#include <string>
#include <string_view>

namespace tessera::tokenization {

// Appends the character (one or two bytes of UTF-8) of every byte.
void AppendByteLevel(std::string_view bytes, std::string* out);

// The inverse. A text with any character outside the alphabet is no byte-level text: it is returned
// as it is. `text` is valid UTF-8.
std::string FromByteLevel(std::string_view text);

}  // namespace tessera::tokenization
