#include "text/tokenizer/bpe.h"

#include <algorithm>
#include <limits>
#include <queue>

#include "text/tokenizer/unicode.h"

namespace tessera::tokenization {
namespace {

// Up to here it is quicker to look at all pairs for every merge than to keep a heap.
constexpr size_t kShortWord = 32;

std::string ByteToken(size_t byte) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  return std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 15] + '>';
}

}  // namespace

Bpe::Bpe(BpeConfig config) : config_(std::move(config)), merges_(config_.merges.size()) {
  ids_.reserve(config_.vocabulary.size());
  for (const auto& [token, id] : config_.vocabulary) ids_[token] = id;
  for (size_t c = 0; c < small_characters_.size(); ++c) {
    std::string text;
    AppendUtf8(static_cast<char32_t>(c), &text);
    small_characters_[c] = TokenId(text).value_or(-1);
  }
  for (size_t byte = 0; byte < byte_tokens_.size(); ++byte) {
    byte_tokens_[byte] = TokenId(ByteToken(byte)).value_or(-1);
  }
}

Result<std::unique_ptr<Bpe>> Bpe::Create(BpeConfig config) {
  std::unique_ptr<Bpe> bpe(new Bpe(std::move(config)));
  if (const std::string& unk = bpe->config_.unk_token; !unk.empty()) {
    const auto id = bpe->TokenId(unk);
    if (!id) {
      return Corrupt("The unk_token \"" + unk +
                     "\" is not in the vocabulary; add it there or set unk_token to null.");
    }
    bpe->unk_id_ = *id;
  }
  TESSERA_RETURN_IF_ERROR(bpe->AddMerges());
  return bpe;
}

Status Bpe::AddMerges() {
  const std::string& prefix = config_.continuing_subword_prefix;
  int32_t rank = 0;
  for (const auto& [left, right] : config_.merges) {
    // The right part loses the prefix that marks it as a continuation.
    const size_t skip = std::min(prefix.size(), right.size());
    const auto left_id = TokenId(left);
    const auto right_id = TokenId(right);
    const auto merged_id = TokenId(left + right.substr(skip));
    if (!left_id || !right_id || !merged_id) {
      const std::string& missing = !left_id ? left : !right_id ? right : left + right.substr(skip);
      return Corrupt("Merge " + std::to_string(rank) + " (\"" + left + "\" and \"" + right +
                     "\") needs the token \"" + missing +
                     "\", which is not in the vocabulary; the file is damaged or incomplete.");
    }
    merges_.Insert(*left_id, *right_id, Merge{rank++, *merged_id});
  }
  config_.merges = {};
  return {};
}

std::optional<int32_t> Bpe::TokenId(std::string_view token) const {
  const auto it = ids_.find(token);
  if (it == ids_.end()) return std::nullopt;
  return it->second;
}

int32_t Bpe::CharacterId(std::string_view character) const {
  std::string_view rest = character;
  const char32_t c = TakeChar(&rest);
  if (c < small_characters_.size() && rest.empty()) return small_characters_[c];
  return TokenId(character).value_or(-1);
}

std::vector<int32_t> Bpe::Characters(std::string_view word) const {
  std::vector<int32_t> symbols;
  symbols.reserve(word.size());
  // An unknown character waits here, for others that it is fused with. Byte tokens do not push it
  // out: this order is the one that `tokenizers` gives.
  bool unk_waits = false;
  std::string decorated;
  for (std::string_view rest = word; !rest.empty();) {
    std::string_view character = rest.substr(0, CharLength(rest));
    const bool first = rest.size() == word.size();
    rest.remove_prefix(character.size());
    const bool continues = !first && !config_.continuing_subword_prefix.empty();
    const bool ends = rest.empty() && !config_.end_of_word_suffix.empty();
    if (continues || ends) {
      decorated = continues ? config_.continuing_subword_prefix : std::string();
      decorated += character;
      if (ends) decorated += config_.end_of_word_suffix;
      character = decorated;
    }

    if (const int32_t id = CharacterId(character); id >= 0) {
      if (unk_waits) symbols.push_back(unk_id_);
      unk_waits = false;
      symbols.push_back(id);
      continue;
    }
    const auto byte_token = [&](char c) { return byte_tokens_[static_cast<uint8_t>(c)]; };
    if (config_.byte_fallback && std::all_of(character.begin(), character.end(),
                                             [&](char c) { return byte_token(c) >= 0; })) {
      for (const char c : character) symbols.push_back(byte_token(c));
      continue;
    }
    if (unk_id_ < 0) continue;
    if (unk_waits && !config_.fuse_unk) symbols.push_back(unk_id_);
    unk_waits = true;
  }
  if (unk_waits) symbols.push_back(unk_id_);
  return symbols;
}

void Bpe::MergeShort(std::vector<int32_t>* symbols) const {
  constexpr int32_t kNone = std::numeric_limits<int32_t>::max();
  std::array<Merge, kShortWord> merges{};  // [i]: of symbols i and i + 1; rank kNone: none
  std::vector<int32_t>& s = *symbols;
  const auto look_up = [&](size_t i) {
    merges[i] = merges_.Lookup(s[i], s[i + 1]);
    if (merges[i].rank < 0) merges[i].rank = kNone;
  };
  size_t size = s.size();
  for (size_t i = 0; i + 1 < size; ++i) look_up(i);
  while (size > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < size; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == kNone) break;
    s[best] = merges[best].id;
    for (size_t i = best + 1; i + 1 < size; ++i) {
      s[i] = s[i + 1];
      merges[i] = merges[i + 1];
    }
    --size;
    if (best > 0) look_up(best - 1);
    if (best + 1 < size) look_up(best);
  }
  s.resize(size);
}

void Bpe::MergeLong(std::vector<int32_t>* symbols) const {
  struct Node {
    int32_t id;  // -1: merged into a node before it
    int64_t previous;
    int64_t next;
  };
  struct Candidate {
    int32_t rank;
    int32_t id;
    int64_t position;
  };
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  const auto size = static_cast<int64_t>(symbols->size());
  std::vector<Node> nodes;
  nodes.reserve(symbols->size());
  for (int64_t i = 0; i < size; ++i) {
    nodes.push_back({(*symbols)[static_cast<size_t>(i)], i - 1, i + 1 < size ? i + 1 : -1});
  }
  const auto node = [&](int64_t i) -> Node& { return nodes[static_cast<size_t>(i)]; };

  std::priority_queue<Candidate, std::vector<Candidate>, decltype(later)> queue(later);
  const auto offer = [&](int64_t i) {
    if (i < 0 || node(i).next < 0) return;
    const Merge merge = merges_.Lookup(node(i).id, node(node(i).next).id);
    if (merge.rank >= 0) queue.push({merge.rank, merge.id, i});
  };
  for (int64_t i = 0; i + 1 < size; ++i) offer(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Node& left = node(best.position);
    // The pair may have changed since it was offered.
    if (left.id < 0 || left.next < 0) continue;
    Node& right = node(left.next);
    if (merges_.Lookup(left.id, right.id).rank != best.rank) continue;
    left.id = best.id;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) node(left.next).previous = best.position;
    offer(left.previous);
    offer(best.position);
  }
  symbols->clear();
  for (int64_t i = 0; i >= 0 && i < size; i = node(i).next) symbols->push_back(node(i).id);
}

void Bpe::Encode(std::string_view word, std::vector<int32_t>* ids) const {
  if (config_.ignore_merges) {
    if (const auto id = TokenId(word)) {
      ids->push_back(*id);
      return;
    }
  }
  if (cache_.Lookup(word, ids)) return;
  std::vector<int32_t> symbols = Characters(word);
  if (symbols.size() > kShortWord) {
    MergeLong(&symbols);
  } else {
    MergeShort(&symbols);
  }
  cache_.Insert(word, symbols.data(), symbols.size());
  ids->insert(ids->end(), symbols.begin(), symbols.end());
}

}  // namespace tessera::tokenization
