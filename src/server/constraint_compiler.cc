#include "server/constraint_compiler.h"

#include <algorithm>
#include <vector>

namespace tessera {
namespace {

constexpr size_t kMaxKept = 8;
constexpr size_t kMaxSpecBytes = 256 << 10;

}  // namespace

ConstraintCompiler::ConstraintCompiler(const Tokenizer& tokenizer) {
  std::vector<std::string> texts(static_cast<size_t>(tokenizer.vocab_size()));
  for (size_t id = 0; id < texts.size(); ++id) {
    const auto token = static_cast<int32_t>(id);
    if (!tokenizer.IsSpecial(token)) texts[id] = tokenizer.TokenBytes(token);
  }
  trie_ = std::make_shared<const grammar::TokenTrie>(texts);
}

std::shared_ptr<TokenGrammar> ConstraintCompiler::Find(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(recent_.begin(), recent_.end(),
                                  [&](const Entry& entry) { return entry.first == key; });
  if (found == recent_.end()) return nullptr;
  if (found->second->IsWornOut()) {
    recent_.erase(found);
    return nullptr;
  }
  recent_.splice(recent_.begin(), recent_, found);
  return recent_.front().second;
}

// Without the lock: a large schema takes its time. Two requests may then compile the same.
Result<std::shared_ptr<TokenGrammar>> ConstraintCompiler::Compile(const ConstraintSpec& spec) {
  const std::string key = spec.Key();
  if (key.size() > kMaxSpecBytes) {
    return InvalidArgument("The constraint of the answer has " + std::to_string(key.size()) +
                           " bytes as JSON, and at most " + std::to_string(kMaxSpecBytes) +
                           " are compiled; ask for a smaller schema or fewer tools.");
  }
  if (auto known = Find(key)) return known;
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<grammar::Automaton> automaton, CompileConstraint(spec));
  auto compiled = TokenGrammar::Create(std::move(automaton), trie_);
  if (!compiled.ok()) {
    return Error{compiled.error().code,
                 "The constraint of the answer cannot be used: " + compiled.error().message};
  }
  const std::lock_guard lock(mutex_);
  recent_.emplace_front(key, *compiled);
  if (recent_.size() > kMaxKept) recent_.pop_back();
  return compiled;
}

}  // namespace tessera
