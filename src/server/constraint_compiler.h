// Constraints of answers over a model's vocabulary, compiled once for all requests that have the
// same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "grammar/constraint_spec.h"
#include "grammar/token_grammar.h"
#include "tessera/result.h"
#include "text/tokenizer/tokenizer.h"

namespace tessera {

// Thread-safe.
class ConstraintCompiler {
 public:
  // What is kept for later requests, refusals included; the latest used stay. It is room for some
  // hundreds of everyday schemas, or for a few of the largest.
  static constexpr size_t kMaxKeptBytes = 64 << 20;
  // What all grammars may take, with those of requests that run or wait.
  static constexpr size_t kMaxBytes = size_t{1} << 30;

  // Special tokens are never part of a constrained text. `tokenizer` is not needed afterwards.
  explicit ConstraintCompiler(const Tokenizer& tokenizer);
  explicit ConstraintCompiler(std::shared_ptr<const grammar::TokenTrie> trie);

  // The spec is not kNone. kOutOfMemory if the grammars in use leave no room; every other
  // failure is the spec's own. Messages are whole sentences.
  Result<std::shared_ptr<TokenGrammar>> Compile(const ConstraintSpec& spec);

  // How many were not found among those that are kept.
  int64_t num_compiled() const;
  size_t KeptBytes() const;

 private:
  using Outcome = Result<std::shared_ptr<TokenGrammar>>;
  struct Entry {
    std::string key;  // ConstraintSpec::Key
    Outcome outcome;  // a refusal is the same each time

    size_t Bytes() const;
  };

  Outcome CompileAnew(const ConstraintSpec& spec) const;
  bool HasRoom();
  void Keep(Entry entry);

  std::shared_ptr<const grammar::TokenTrie> trie_;
  mutable std::mutex mutex_;  // of all below
  std::list<Entry> recent_;   // the latest used first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_key_;
  std::vector<std::weak_ptr<TokenGrammar>> in_use_;  // all that were made and may be there still
  int64_t num_compiled_ = 0;
};

}  // namespace tessera
