#include "grammar/token_grammar.h"

#include <algorithm>
#include <string>
#include <utility>

namespace tessera {
namespace {

using grammar::kDead;
using grammar::Shortage;
using grammar::StateId;
using grammar::TokenTrie;

constexpr size_t kMaxMaskBytes = 32 << 20;  // kept for one grammar
constexpr int64_t kWorkOfRoom = 300'000;    // to look through all states, at their most

Error TooMuchMemory() {
  return OutOfMemory(
      "The constraint of this answer takes too much memory; use a simpler schema or pattern, or a "
      "lower max_tokens.");
}

Error TooMuchWork() {
  return InvalidArgument(
      "The constraint of this answer takes too much work at one of its tokens; use a simpler "
      "schema or pattern, with smaller counts ({m,n}, maxLength, maxItems).");
}

}  // namespace

TokenGrammar::TokenGrammar(std::unique_ptr<grammar::Automaton> automaton,
                           std::shared_ptr<const TokenTrie> trie)
    : trie_(std::move(trie)), automaton_(std::move(automaton)) {
  uint16_t depth = 0;
  for (const TokenTrie::Node& node : trie_->nodes()) depth = std::max(depth, node.depth);
  path_.resize(size_t{depth} + 1);
}

Result<std::shared_ptr<TokenGrammar>> TokenGrammar::Create(
    std::unique_ptr<grammar::Automaton> automaton, std::shared_ptr<const TokenTrie> trie) {
  std::shared_ptr<TokenGrammar> result(new TokenGrammar(std::move(automaton), std::move(trie)));
  const TokenConstraint start(result);
  const auto mask = start.Mask();
  if (!mask.ok()) {
    return InvalidArgument(
        "its first token takes too much work; use a simpler schema or pattern, with smaller counts "
        "({m,n}, maxLength, maxItems).");
  }
  const bool any =
      std::any_of((*mask)->begin(), (*mask)->end(), [](uint64_t word) { return word != 0; });
  if (!any && !start.MayEnd()) {
    return InvalidArgument("no token of this model can begin what it allows.");
  }
  return result;
}

size_t TokenGrammar::MemoryBytes() {
  const std::lock_guard lock(mutex_);
  const size_t mask = static_cast<size_t>((trie_->vocab_size() + 63) / 64) * sizeof(uint64_t);
  return automaton_->MemoryBytes() + masks_.size() * mask;
}

TokenGrammar::PositionId TokenGrammar::Enter() {
  const std::lock_guard lock(mutex_);
  return positions_.insert(positions_.end(), {.state = automaton_->start()});
}

TokenGrammar::PositionId TokenGrammar::Copy(PositionId position) {
  const std::lock_guard lock(mutex_);
  return positions_.insert(positions_.end(), *position);
}

void TokenGrammar::Leave(PositionId position) {
  const std::lock_guard lock(mutex_);
  positions_.erase(position);
}

template <typename Action>
Status TokenGrammar::WithBudget(PositionId position, const Action& action) {
  for (int attempt = 0; attempt < 2 && !position->too_large; ++attempt) {
    automaton_->SetBudget(position->work_left);
    action();
    position->work_left = automaton_->work_left();
    const Shortage shortage = automaton_->shortage();
    if (shortage == Shortage::kNone) return {};
    if (shortage == Shortage::kWork) return TooMuchWork();
    MakeRoom();
    position->work_left -= kWorkOfRoom;
  }
  return TooMuchMemory();
}

void TokenGrammar::MakeRoom() {
  std::vector<StateId> states;
  const auto drop_others = [&] {
    states.clear();
    for (const Position& position : positions_) states.push_back(position.state);
    automaton_->DropUnused(states);
    auto state = states.begin();
    for (Position& position : positions_) position.state = *state++;
  };
  drop_others();
  constexpr double kEnough = 0.5;
  while (automaton_->fill() > kEnough) {
    Position* largest = nullptr;
    size_t largest_size = 0;
    for (Position& position : positions_) {
      const size_t size = automaton_->SizeOf(position.state);
      if (size <= largest_size) continue;
      largest = &position;
      largest_size = size;
    }
    if (largest == nullptr) break;
    largest->too_large = true;
    largest->state = automaton_->start();
    drop_others();
  }
  std::erase_if(masks_,
                [this](const auto& entry) { return !automaton_->IsPermanent(entry.first); });
  std::erase_if(stays_in_plain_text_,
                [this](const auto& entry) { return !automaton_->IsPermanent(entry.first); });
}

Result<std::shared_ptr<const TokenMask>> TokenGrammar::Mask(PositionId position) {
  const std::lock_guard lock(mutex_);
  if (position->too_large) return TooMuchMemory();
  const auto found = masks_.find(position->state);
  if (found != masks_.end()) return found->second;
  TokenMask bits;
  TESSERA_RETURN_IF_ERROR(WithBudget(position, [&] { bits = ComputeMask(position->state); }));
  auto mask = std::make_shared<const TokenMask>(std::move(bits));
  if ((masks_.size() + 1) * mask->size() * sizeof(uint64_t) > kMaxMaskBytes) masks_.clear();
  masks_.emplace(position->state, mask);
  return std::shared_ptr<const TokenMask>(std::move(mask));
}

// Whether every plain byte leads back to the state, as inside of a string.
bool TokenGrammar::StaysInPlainText(StateId state) {
  const auto found = stays_in_plain_text_.find(state);
  if (found != stays_in_plain_text_.end()) return found->second;
  bool stays = true;
  for (unsigned byte = 0; byte < 256 && stays; ++byte) {
    const auto b = static_cast<uint8_t>(byte);
    if (TokenTrie::IsPlain(b)) stays = automaton_->Next(state, b) == state;
  }
  if (!automaton_->overflowed()) stays_in_plain_text_.emplace(state, stays);
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
  for (size_t i = 0; i < nodes.size() && !automaton_->overflowed();) {
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

StateId TokenGrammar::Next(StateId state, int32_t token) {
  if (token < 0 || token >= trie_->vocab_size() || trie_->TextOf(token).empty()) return kDead;
  for (const char c : trie_->TextOf(token)) {
    state = automaton_->Next(state, static_cast<uint8_t>(c));
  }
  return state;
}

Status TokenGrammar::Accept(PositionId position, int32_t token) {
  const std::lock_guard lock(mutex_);
  position->work_left = std::min(position->work_left + kWorkPerToken, kWorkAtOnce);
  StateId next = kDead;
  TESSERA_RETURN_IF_ERROR(WithBudget(position, [&] { next = Next(position->state, token); }));
  if (next == kDead) {
    return Internal("The answer has left its constraint with token " + std::to_string(token) + ".");
  }
  position->state = next;
  return {};
}

bool TokenGrammar::MayEnd(PositionId position) {
  const std::lock_guard lock(mutex_);
  return automaton_->MayEnd(position->state);
}

bool TokenGrammar::MustEnd(PositionId position) {
  const std::lock_guard lock(mutex_);
  return automaton_->MustEnd(position->state);
}

}  // namespace tessera
