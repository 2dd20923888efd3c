#include "grammar/token_grammar.h"

#include <algorithm>
#include <string>
#include <utility>

namespace tessera {
namespace {

using grammar::kDead;
using grammar::StateId;
using grammar::TokenTrie;

constexpr size_t kMaxMaskBytes = 64 << 20;  // kept for one grammar

Error TooMuch() {
  return OutOfMemory(
      "The constraint of this answer takes too much memory; use a simpler schema or pattern, or a "
      "lower max_tokens.");
}

}  // namespace

TokenGrammar::TokenGrammar(std::unique_ptr<grammar::Automaton> automaton,
                           std::shared_ptr<const TokenTrie> trie)
    : trie_(std::move(trie)), start_(automaton->start()), automaton_(std::move(automaton)) {
  uint16_t depth = 0;
  for (const TokenTrie::Node& node : trie_->nodes()) depth = std::max(depth, node.depth);
  path_.resize(size_t{depth} + 1);
}

Result<std::shared_ptr<TokenGrammar>> TokenGrammar::Create(
    std::unique_ptr<grammar::Automaton> automaton, std::shared_ptr<const TokenTrie> trie) {
  std::shared_ptr<TokenGrammar> result(new TokenGrammar(std::move(automaton), std::move(trie)));
  TESSERA_ASSIGN_OR_RETURN(const auto mask, result->Mask(result->start()));
  const bool any = std::any_of(mask->begin(), mask->end(), [](uint64_t word) { return word != 0; });
  if (!any && !result->MayEnd(result->start())) {
    return InvalidArgument("no token of this model can begin what it allows.");
  }
  return result;
}

Result<std::shared_ptr<const TokenMask>> TokenGrammar::Mask(StateId state) {
  const std::lock_guard lock(mutex_);
  const auto found = masks_.find(state);
  if (found != masks_.end()) return found->second;
  auto mask = std::make_shared<const TokenMask>(ComputeMask(state));
  if (automaton_->overflowed()) return TooMuch();
  if ((masks_.size() + 1) * mask->size() * sizeof(uint64_t) > kMaxMaskBytes) masks_.clear();
  masks_.emplace(state, mask);
  return std::shared_ptr<const TokenMask>(std::move(mask));
}

// Whether every plain byte leads back to the state, as inside of a string.
bool TokenGrammar::StaysInPlainText(StateId state) {
  const auto [found, inserted] = stays_in_plain_text_.try_emplace(state, true);
  if (!inserted) return found->second;
  bool stays = true;
  for (unsigned byte = 0; byte < 256 && stays; ++byte) {
    const auto b = static_cast<uint8_t>(byte);
    if (TokenTrie::IsPlain(b)) stays = automaton_->Next(state, b) == state;
  }
  stays_in_plain_text_[state] = stays;
  return stays;
}

TokenMask TokenGrammar::ComputeMask(StateId state) {
  TokenMask mask(static_cast<size_t>((trie_->vocab_size() + 63) / 64));
  const auto allow = [&mask](std::span<const int32_t> tokens) {
    for (const int32_t token : tokens) {
      mask[static_cast<size_t>(token) >> 6] |= uint64_t{1} << (token & 63);
    }
  };
  const std::span<const TokenTrie::Node> nodes = trie_->nodes();
  path_[0] = state;
  // The state that was found not to stay, so that its neighbours need not ask again.
  StateId leaving = kDead;
  for (size_t i = 0; i < nodes.size();) {
    const TokenTrie::Node& node = nodes[i];
    const StateId next = automaton_->Next(path_[size_t{node.depth} - 1], node.byte);
    if (next == kDead) {
      i = static_cast<size_t>(node.end);
      continue;
    }
    if (node.plain_below && node.end > static_cast<int32_t>(i) + 1 && next != leaving) {
      if (StaysInPlainText(next)) {
        allow(trie_->TokensFrom(i));
        i = static_cast<size_t>(node.end);
        continue;
      }
      leaving = next;
    }
    path_[node.depth] = next;
    allow(trie_->TokensFrom(i).first(static_cast<size_t>(node.own_tokens)));
    ++i;
  }
  return mask;
}

Result<StateId> TokenGrammar::Next(StateId state, int32_t token) {
  const std::lock_guard lock(mutex_);
  if (token < 0 || token >= trie_->vocab_size()) return kDead;
  for (const char c : trie_->TextOf(token)) {
    state = automaton_->Next(state, static_cast<uint8_t>(c));
    if (automaton_->overflowed()) return TooMuch();
  }
  return trie_->TextOf(token).empty() ? kDead : state;
}

bool TokenGrammar::MayEnd(StateId state) {
  const std::lock_guard lock(mutex_);
  return automaton_->MayEnd(state);
}

bool TokenGrammar::MustEnd(StateId state) {
  const std::lock_guard lock(mutex_);
  return automaton_->MustEnd(state);
}

bool TokenGrammar::IsWornOut() {
  const std::lock_guard lock(mutex_);
  return automaton_->overflowed() || automaton_->fill() > 0.5;
}

Status TokenConstraint::Accept(int32_t token) {
  TESSERA_ASSIGN_OR_RETURN(const StateId next, grammar_->Next(state_, token));
  if (next == kDead) {
    return Internal("The answer has left its constraint with token " + std::to_string(token) + ".");
  }
  state_ = next;
  return {};
}

}  // namespace tessera
