// A grammar over tokens: which of a vocabulary's tokens may come next.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "grammar/automaton.h"
#include "grammar/token_trie.h"
#include "tessera/result.h"

namespace tessera {

// One bit for each token of the vocabulary, the lowest first; no bits: no token.
using TokenMask = std::vector<uint64_t>;

// Shared by all requests that are bound by the same grammar; each of them stands somewhere in it
// (TokenConstraint). Thread-safe.
//
// A request may use so much work at once, and so much more with each of its tokens: what takes
// longer holds up the requests beside it. States that no request needs any more are dropped when
// memory becomes short; if that does not help, the requests end that need most of it.
class TokenGrammar {
 public:
  // In the units of ExpressionPool, whose work takes 30 to 100 ns.
  static constexpr int64_t kWorkAtOnce = 1'000'000;
  static constexpr int64_t kWorkPerToken = 100'000;

  // Fails, with the end of a sentence that begins with what is at fault, if no token can begin.
  static Result<std::shared_ptr<TokenGrammar>> Create(
      std::unique_ptr<grammar::Automaton> automaton,
      std::shared_ptr<const grammar::TokenTrie> trie);

  // What it holds by now: states, steps and masks.
  size_t MemoryBytes();

 private:
  friend class TokenConstraint;

  // Where a request stands.
  struct Position {
    grammar::StateId state = grammar::kDead;
    int64_t work_left = kWorkAtOnce;
    bool too_large = false;  // was dropped to make room for the others
  };
  using PositionId = std::list<Position>::iterator;

  TokenGrammar(std::unique_ptr<grammar::Automaton> automaton,
               std::shared_ptr<const grammar::TokenTrie> trie);

  // As the functions of TokenConstraint.
  PositionId Enter();
  PositionId Copy(PositionId position);
  void Leave(PositionId position);
  Result<std::shared_ptr<const TokenMask>> Mask(PositionId position);
  Status Accept(PositionId position, int32_t token);
  bool MayEnd(PositionId position);
  bool MustEnd(PositionId position);

  // Does `action` with the position's budget of work, a second time if there is room again.
  template <typename Action>
  Status WithBudget(PositionId position, const Action& action);
  void MakeRoom();
  TokenMask ComputeMask(grammar::StateId state);
  grammar::StateId Next(grammar::StateId state, int32_t token);
  bool StaysInPlainText(grammar::StateId state);

  const std::shared_ptr<const grammar::TokenTrie> trie_;

  std::mutex mutex_;  // of all below
  std::unique_ptr<grammar::Automaton> automaton_;
  std::list<Position> positions_;
  std::unordered_map<grammar::StateId, std::shared_ptr<const TokenMask>> masks_;
  std::unordered_map<grammar::StateId, bool> stays_in_plain_text_;
  std::vector<grammar::StateId> path_;  // working memory of a walk
};

// Where one request stands. Copies share the grammar. Not thread-safe.
class TokenConstraint {
 public:
  explicit TokenConstraint(std::shared_ptr<TokenGrammar> token_grammar)
      : grammar_(std::move(token_grammar)), position_(grammar_->Enter()) {}
  TokenConstraint(const TokenConstraint& other)
      : grammar_(other.grammar_), position_(grammar_->Copy(other.position_)) {}
  TokenConstraint& operator=(const TokenConstraint&) = delete;
  ~TokenConstraint() { grammar_->Leave(position_); }

  const std::shared_ptr<TokenGrammar>& grammar() const { return grammar_; }

  // The tokens that may come next: those after which the text can still be completed. End tokens
  // are not among them. Fails if the request has used up its work or takes too much memory; it
  // has to end then, and the others continue.
  Result<std::shared_ptr<const TokenMask>> Mask() const { return grammar_->Mask(position_); }

  // Fails as Mask(), and if `token` is none of the mask.
  Status Accept(int32_t token) { return grammar_->Accept(position_, token); }

  // Whether the text may end here, and whether it must.
  bool MayEnd() const { return grammar_->MayEnd(position_); }
  bool MustEnd() const { return grammar_->MustEnd(position_); }

 private:
  const std::shared_ptr<TokenGrammar> grammar_;
  const TokenGrammar::PositionId position_;
};

}  // namespace tessera
