// Constraints of answers over a model's vocabulary, compiled once for all requests that have the
// same.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "grammar/constraint_spec.h"
#include "grammar/token_grammar.h"
#include "model/tokenizer/tokenizer.h"
#include "tessera/result.h"

namespace tessera {

// Thread-safe.
class ConstraintCompiler {
 public:
  // Special tokens are never part of a constrained text. `tokenizer` is not needed afterwards.
  explicit ConstraintCompiler(const Tokenizer& tokenizer);

  // The spec is not kNone. Messages are whole sentences.
  Result<std::shared_ptr<TokenGrammar>> Compile(const ConstraintSpec& spec);

 private:
  using Entry = std::pair<std::string, std::shared_ptr<TokenGrammar>>;  // by ConstraintSpec::Key

  std::shared_ptr<TokenGrammar> Find(const std::string& key);

  std::shared_ptr<const grammar::TokenTrie> trie_;
  std::mutex mutex_;
  std::list<Entry> recent_;  // the latest used first
};

}  // namespace tessera
