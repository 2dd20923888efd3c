#include "engine/logprobs.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace tessera {

TokenLogprob LogprobOf(std::span<const float> logits, int32_t token, int32_t num_top) {
  const int32_t vocab_size = static_cast<int32_t>(logits.size());
  TESSERA_CHECK(token >= 0 && token < vocab_size);
  const float own = logits[static_cast<size_t>(token)];
  const float highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  TokenLogprob result;
  result.token = token;
  result.rank = 1;
  for (int32_t i = 0; i < vocab_size; ++i) {
    const float logit = logits[static_cast<size_t>(i)];
    sum += std::exp(logit - highest);
    result.rank += logit > own || (logit == own && i < token) ? 1 : 0;
  }
  const double log_sum = static_cast<double>(highest) + std::log(sum);
  result.logprob = static_cast<float>(own - log_sum);
  if (num_top == 0) return result;

  const auto better = [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)];
    const float y = logits[static_cast<size_t>(b)];
    return x > y || (x == y && a < b);
  };
  // A heap of the best so far with the worst of them on top.
  std::vector<int32_t> heap;
  heap.reserve(static_cast<size_t>(num_top));
  for (int32_t i = 0; i < vocab_size; ++i) {
    if (heap.size() < static_cast<size_t>(num_top)) {
      heap.push_back(i);
      std::push_heap(heap.begin(), heap.end(), better);
    } else if (better(i, heap.front())) {
      std::pop_heap(heap.begin(), heap.end(), better);
      heap.back() = i;
      std::push_heap(heap.begin(), heap.end(), better);
    }
  }
  std::sort_heap(heap.begin(), heap.end(), better);
  for (const int32_t i : heap) {
    result.top.emplace_back(i, static_cast<float>(logits[static_cast<size_t>(i)] - log_sum));
  }
  return result;
}

}  // namespace tessera
