// Guesses what comes next from what came before: speculation without a draft model.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tessera {

// Longer repetitions count as the same.
constexpr int32_t kMaxNgram = 64;

// Finds the longest sequence of at most kMaxNgram tokens that ends `tokens` and stands in them
// earlier, of equals the latest, and makes `guess` what followed it there: as many tokens as the
// sequence has, since that many speak for it, and at most `count`. Empty if there is none. What
// would follow after the end of `tokens` continues as the guess began. O(tokens) comparisons, times
// kMaxNgram where everything repeats.
void GuessByNgram(std::span<const int32_t> tokens, int32_t count, std::vector<int32_t>* guess);

}  // namespace tessera
