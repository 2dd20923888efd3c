#include "engine/ngram_proposer.h"

#include <algorithm>
#include <cstddef>

namespace tessera {
namespace {

// How many of the tokens before `end` are the same as the last ones of all, up to kMaxNgram.
int32_t CommonEnd(std::span<const int32_t> tokens, size_t end) {
  const size_t most = std::min<size_t>(end, kMaxNgram);
  size_t length = 0;
  while (length < most && tokens[end - 1 - length] == tokens[tokens.size() - 1 - length]) ++length;
  return static_cast<int32_t>(length);
}

}  // namespace

void GuessByNgram(std::span<const int32_t> tokens, int32_t count, std::vector<int32_t>* guess) {
  guess->clear();
  int32_t longest = 0;
  size_t follows = 0;  // where the best one's continuation begins
  for (size_t end = tokens.size(); end-- > 1 && longest < kMaxNgram;) {
    const int32_t length = CommonEnd(tokens, end);
    if (length <= longest) continue;
    longest = length;
    follows = end;
  }
  if (follows == 0) return;
  const size_t length = static_cast<size_t>(std::min(count, longest));
  for (size_t i = follows; guess->size() < length; ++i) {
    guess->push_back(i < tokens.size() ? tokens[i] : (*guess)[i - tokens.size()]);
  }
}

}  // namespace tessera
