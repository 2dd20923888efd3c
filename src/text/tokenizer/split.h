// Splitting text at the matches of a pattern.
#pragma once

#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include "text/tokenizer/pre_tokenizer.h"

namespace tessera::tokenization {

// Appends the pieces of text[begin, end) to `out`, as ranges in `text`, without the empty ones.
void Split(const SplitStep& step, std::string_view text, size_t begin, size_t end,
           std::vector<std::pair<size_t, size_t>>* out);

}  // namespace tessera::tokenization
