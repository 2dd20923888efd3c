// From Oniguruma's regular expressions to PCRE2's.
#pragma once

#include <string>
#include <string_view>

#include "tessera/result.h"

namespace tessera::tokenization {

// The same pattern for PCRE2 10.40 or later with UTF, UCP and MULTILINE. Differences that are
// translated: \s (PCRE2 adds U+180E), \w and \b (PCRE2 before 10.43 leaves marks out), \h (a
// hexadecimal digit), \uHHHH. Refused: classes inside classes and && between them.
Result<std::string> TranslateOniguruma(std::string_view pattern);

}  // namespace tessera::tokenization
