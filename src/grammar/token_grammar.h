// A grammar over tokens: which of a vocabulary's tokens may come next.
#pragma once

#include <cstdint>
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

// Shared by all requests that are bound by the same grammar. Thread-safe.
class TokenGrammar {
 public:
  // Fails, with the end of a sentence that begins with what is at fault, where no token can begin.
  static Result<std::shared_ptr<TokenGrammar>> Create(
      std::unique_ptr<grammar::Automaton> automaton,
      std::shared_ptr<const grammar::TokenTrie> trie);

  grammar::StateId start() const { return start_; }

  // The tokens that may come next: those after which the text can still be completed. End tokens
  // are not among them. Fails where the grammar takes too much memory by now.
  Result<std::shared_ptr<const TokenMask>> Mask(grammar::StateId state);

  // What follows the token: kDead where it was not allowed.
  Result<grammar::StateId> Next(grammar::StateId state, int32_t token);

  bool MayEnd(grammar::StateId state);
  bool MustEnd(grammar::StateId state);

  // Whether so much of the limits is used that new requests better start afresh.
  bool IsWornOut();

 private:
  TokenGrammar(std::unique_ptr<grammar::Automaton> automaton,
               std::shared_ptr<const grammar::TokenTrie> trie);

  TokenMask ComputeMask(grammar::StateId state);
  bool StaysInPlainText(grammar::StateId state);

  const std::shared_ptr<const grammar::TokenTrie> trie_;
  const grammar::StateId start_;

  std::mutex mutex_;  // of all below
  std::unique_ptr<grammar::Automaton> automaton_;
  std::unordered_map<grammar::StateId, std::shared_ptr<const TokenMask>> masks_;
  std::unordered_map<grammar::StateId, bool> stays_in_plain_text_;
  std::vector<grammar::StateId> path_;  // working memory of a walk
};

// Where one request stands. Copies share the grammar. Not thread-safe.
class TokenConstraint {
 public:
  explicit TokenConstraint(std::shared_ptr<TokenGrammar> token_grammar)
      : grammar_(std::move(token_grammar)), state_(grammar_->start()) {}

  Result<std::shared_ptr<const TokenMask>> Mask() const { return grammar_->Mask(state_); }
  bool MayEnd() const { return grammar_->MayEnd(state_); }
  bool MustEnd() const { return grammar_->MustEnd(state_); }
  // `token` is one of the mask.
  Status Accept(int32_t token);

 private:
  std::shared_ptr<TokenGrammar> grammar_;
  grammar::StateId state_;
};

}  // namespace tessera
