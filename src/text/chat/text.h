// Strings as Python sees them: sequences of code points, here kept in UTF-8. A byte that is not
// part of valid UTF-8 counts as one code point (0xDC00 + byte) and is written back unchanged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::chat {

// Reads the code point at `*position` (which must lie inside `text`) and moves after it.
char32_t NextCodePoint(std::string_view text, size_t* position);
void AppendUtf8(char32_t code_point, std::string* out);
std::u32string Decode(std::string_view text);
std::string Encode(std::u32string_view text);
int64_t CodePointCount(std::string_view text);
bool IsValidUtf8(std::string_view text);

// Character classes with the members that Python's str methods have.
bool IsSpace(char32_t c);
bool IsAlpha(char32_t c);
bool IsDigit(char32_t c);
bool IsDecimal(char32_t c);
bool IsNumeric(char32_t c);
bool IsLowerCase(char32_t c);
bool IsUpperCase(char32_t c);
bool IsPrintable(char32_t c);
// Letters, digits and the underscore, as \w of Python's re.
bool IsWord(char32_t c);

std::string ToUpper(std::string_view text);
std::string ToLower(std::string_view text);
// First character in title case, the others in lower case.
std::string Capitalize(std::string_view text);
// str.title(): every run of cased characters is capitalized.
std::string TitleCase(std::string_view text);

// Strips white space, or the code points of `chars` when it is not null.
std::string_view Strip(std::string_view text, const std::string_view* chars, bool left, bool right);
// Lines without their ends, at every line boundary of str.splitlines().
std::vector<std::string> SplitLines(std::string_view text, bool keep_ends);
std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to,
                       int64_t max_count);

}  // namespace tessera::chat
