#include "engine/token_rules.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>

namespace tessera {
namespace {

void SortOut(std::vector<int32_t>* tokens) {
  std::sort(tokens->begin(), tokens->end());
  tokens->erase(std::unique(tokens->begin(), tokens->end()), tokens->end());
}

std::shared_ptr<const TokenMask> MaskOf(const std::vector<int32_t>& allowed) {
  if (allowed.empty()) return nullptr;
  const int32_t highest = *std::max_element(allowed.begin(), allowed.end());
  TokenMask mask(static_cast<size_t>(highest) / 64 + 1);
  for (const int32_t token : allowed) {
    mask[static_cast<size_t>(token) / 64] |= uint64_t{1} << (token & 63);
  }
  return std::make_shared<const TokenMask>(std::move(mask));
}

}  // namespace

std::shared_ptr<const TokenRules> MakeTokenRules(const SamplingParams& params,
                                                 const std::vector<int32_t>& eos_token_ids) {
  auto rules = std::make_shared<TokenRules>();
  rules->stop_tokens = params.stop_token_ids;
  if (!params.ignore_eos) rules->model_ends = eos_token_ids;
  SortOut(&rules->model_ends);
  rules->stop_tokens.insert(rules->stop_tokens.end(), rules->model_ends.begin(),
                            rules->model_ends.end());
  SortOut(&rules->stop_tokens);
  rules->allowed = MaskOf(params.allowed_token_ids);
  rules->logit_bias = params.logit_bias;
  rules->bad_words = params.bad_words;
  if (!params.stop.empty()) rules->stops = std::make_shared<const StopAutomaton>(params.stop);
  return rules;
}

std::shared_ptr<const TokenMask> Intersection(std::shared_ptr<const TokenMask> a,
                                              std::shared_ptr<const TokenMask> b) {
  if (a == nullptr) return b;
  if (b == nullptr) return a;
  TokenMask both(std::min(a->size(), b->size()));
  for (size_t i = 0; i < both.size(); ++i) both[i] = (*a)[i] & (*b)[i];
  return std::make_shared<const TokenMask>(std::move(both));
}

std::vector<int32_t> ForbiddenAfter(std::span<const int32_t> output,
                                    const std::vector<std::vector<int32_t>>& bad_words,
                                    std::span<const int32_t> forbidden) {
  std::vector<int32_t> last;
  for (const std::vector<int32_t>& word : bad_words) {
    const std::span<const int32_t> start(word.data(), word.size() - 1);
    if (output.size() < start.size()) continue;
    const std::span<const int32_t> end = output.last(start.size());
    if (std::equal(start.begin(), start.end(), end.begin())) last.push_back(word.back());
  }
  SortOut(&last);
  std::vector<int32_t> result;
  std::set_union(forbidden.begin(), forbidden.end(), last.begin(), last.end(),
                 std::back_inserter(result));
  return result;
}

bool HasToken(const TokenMask& mask, std::span<const int32_t> forbidden) {
  int64_t count = 0;
  for (const uint64_t word : mask) count += std::popcount(word);
  for (const int32_t token : forbidden) {
    const size_t word = static_cast<size_t>(token) >> 6;
    if (token >= 0 && word < mask.size() && ((mask[word] >> (token & 63)) & 1) != 0) --count;
  }
  return count > 0;
}

}  // namespace tessera
