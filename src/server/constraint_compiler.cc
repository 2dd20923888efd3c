#include "server/constraint_compiler.h"

#include <utility>

namespace tessera {
namespace {

constexpr size_t kMaxSpecBytes = 256 << 10;
constexpr size_t kMaxKept = 1024;

std::shared_ptr<const grammar::TokenTrie> TrieOf(const Tokenizer& tokenizer) {
  std::vector<std::string> texts(static_cast<size_t>(tokenizer.vocab_size()));
  for (size_t id = 0; id < texts.size(); ++id) {
    const auto token = static_cast<int32_t>(id);
    if (!tokenizer.IsSpecial(token)) texts[id] = tokenizer.TokenBytes(token);
  }
  return std::make_shared<const grammar::TokenTrie>(texts);
}

}  // namespace

ConstraintCompiler::ConstraintCompiler(const Tokenizer& tokenizer)
    : ConstraintCompiler(TrieOf(tokenizer)) {}

ConstraintCompiler::ConstraintCompiler(std::shared_ptr<const grammar::TokenTrie> trie)
    : trie_(std::move(trie)) {}

// Without the lock while it compiles: a large schema takes its time. Two requests may then compile
// the same.
Result<std::shared_ptr<TokenGrammar>> ConstraintCompiler::Compile(const ConstraintSpec& spec) {
  std::string key = spec.Key();
  if (key.size() > kMaxSpecBytes) {
    return InvalidArgument("The constraint of the answer has " + std::to_string(key.size()) +
                           " bytes as JSON, and at most " + std::to_string(kMaxSpecBytes) +
                           " are compiled; ask for a smaller schema or fewer tools.");
  }
  {
    const std::lock_guard lock(mutex_);
    const auto found = by_key_.find(key);
    if (found != by_key_.end()) {
      recent_.splice(recent_.begin(), recent_, found->second);
      return found->second->outcome;
    }
    if (!HasRoom()) {
      return OutOfMemory("The constraints of the answers under way take more than " +
                         std::to_string(kMaxBytes >> 20) +
                         " MiB; try again when some of them have ended.");
    }
    ++num_compiled_;
  }
  Outcome outcome = CompileAnew(spec);
  const std::lock_guard lock(mutex_);
  if (outcome.ok()) in_use_.push_back(*outcome);
  Keep({std::move(key), outcome});
  return outcome;
}

Result<std::shared_ptr<TokenGrammar>> ConstraintCompiler::CompileAnew(
    const ConstraintSpec& spec) const {
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<grammar::Automaton> automaton, CompileConstraint(spec));
  auto compiled = TokenGrammar::Create(std::move(automaton), trie_);
  if (compiled.ok()) return compiled;
  return Error{compiled.error().code,
               "The constraint of the answer cannot be used: " + compiled.error().message};
}

bool ConstraintCompiler::HasRoom() {
  size_t bytes = 0;
  std::erase_if(in_use_, [&](const std::weak_ptr<TokenGrammar>& weak) {
    const std::shared_ptr<TokenGrammar> grammar = weak.lock();
    if (grammar != nullptr) bytes += grammar->MemoryBytes();
    return grammar == nullptr;
  });
  return bytes <= kMaxBytes;
}

// Grammars grow with the answers that use them: all are measured again.
void ConstraintCompiler::Keep(Entry entry) {
  if (by_key_.contains(entry.key)) return;  // by a request that compiled at the same time
  recent_.push_front(std::move(entry));
  by_key_.emplace(recent_.front().key, recent_.begin());
  size_t bytes = 0, kept = 0;
  for (auto it = recent_.begin(); it != recent_.end();) {
    bytes += it->Bytes();
    ++kept;
    if (kept <= kMaxKept && bytes <= kMaxKeptBytes) {
      ++it;
      continue;
    }
    by_key_.erase(it->key);
    it = recent_.erase(it);
  }
}

size_t ConstraintCompiler::Entry::Bytes() const {
  constexpr size_t kFixed = 256;  // of the containers
  return kFixed + 2 * key.size() +
         (outcome.ok() ? (*outcome)->MemoryBytes() : outcome.error().message.size());
}

int64_t ConstraintCompiler::num_compiled() const {
  const std::lock_guard lock(mutex_);
  return num_compiled_;
}

size_t ConstraintCompiler::KeptBytes() const {
  const std::lock_guard lock(mutex_);
  size_t bytes = 0;
  for (const Entry& entry : recent_) bytes += entry.Bytes();
  return bytes;
}

}  // namespace tessera
