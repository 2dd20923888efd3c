#include "grammar/expression.h"

#include <algorithm>
#include <utility>

namespace tessera::grammar {
namespace {

uint64_t Combine(uint64_t hash, int64_t value) {
  hash ^= static_cast<uint64_t>(value);
  hash *= 0xff51afd7ed558ccdu;
  return hash ^ (hash >> 32);
}

}  // namespace

size_t ExpressionPool::Hash::operator()(ExprId id) const {
  const Expression& node = pool->at(id);
  uint64_t hash = Combine(0x2545f4914f6cdd1du, static_cast<int64_t>(node.kind));
  if (node.kind == ExprKind::kAlternatives) {
    for (const ExprId child : pool->ChildrenOf(node)) hash = Combine(hash, child);
    return hash;
  }
  for (const int32_t value : {node.a, node.b, node.min, node.max}) hash = Combine(hash, value);
  return hash;
}

bool ExpressionPool::Equal::operator()(ExprId a, ExprId b) const {
  const Expression& x = pool->at(a);
  const Expression& y = pool->at(b);
  if (x.kind != y.kind || x.min != y.min || x.max != y.max) return false;
  if (x.kind != ExprKind::kAlternatives) return x.a == y.a && x.b == y.b;
  const auto left = pool->ChildrenOf(x), right = pool->ChildrenOf(y);
  return std::equal(left.begin(), left.end(), right.begin(), right.end());
}

ExpressionPool::ExpressionPool() : known_(64, Hash{this}, Equal{this}) {
  nodes_.push_back({.kind = ExprKind::kNone, .productive = false});
  nodes_.push_back({.kind = ExprKind::kEmptyText, .nullable = true});
}

// The children of alternatives lie at the end of children_ already.
ExprId ExpressionPool::Intern(Expression node) {
  node.productive = IsProductive(node);
  const bool alternatives = node.kind == ExprKind::kAlternatives;
  const auto drop_children = [&] {
    if (alternatives) children_.resize(Index(node.a));
  };
  if (!node.productive) {
    drop_children();
    return kNothing;
  }
  if (nodes_.size() >= kMaxNodes || children_.size() >= kMaxChildren) {
    RunOutOf(Shortage::kMemory);
  }
  if (!Spend(1)) {
    drop_children();
    return kNothing;
  }
  const ExprId id = static_cast<ExprId>(nodes_.size());
  nodes_.push_back(node);
  const auto [found, inserted] = known_.insert(id);
  if (!inserted) {
    nodes_.pop_back();
    drop_children();
  }
  return at(*found).productive ? *found : kNothing;
}

bool ExpressionPool::IsProductive(const Expression& node) const {
  switch (node.kind) {
    case ExprKind::kNone:
      return false;
    case ExprKind::kEmptyText:
    case ExprKind::kBytes:
      return true;
    case ExprKind::kConcat:
    case ExprKind::kBoth:
      return at(node.a).productive && at(node.b).productive;
    case ExprKind::kAlternatives: {
      const auto children = ChildrenOf(node);
      return std::any_of(children.begin(), children.end(),
                         [this](ExprId child) { return at(child).productive; });
    }
    case ExprKind::kRepeat:
      return node.min == 0 || at(node.a).productive;
    case ExprKind::kRule:
      return BodyOf(node) < 0 || at(BodyOf(node)).productive;
  }
  return false;
}

int32_t ExpressionPool::InternSet(const ByteSet& set) {
  const auto [found, inserted] = known_sets_.emplace(set, static_cast<int32_t>(sets_.size()));
  if (inserted) sets_.push_back(set);
  return found->second;
}

ExprId ExpressionPool::Bytes(const ByteSet& set) {
  if (set.IsEmpty() || overflowed()) return kNothing;
  return Intern({.kind = ExprKind::kBytes, .a = InternSet(set)});
}

ExprId ExpressionPool::Literal(std::string_view text) { return ConcatLiteral(text, kEmpty); }

ExprId ExpressionPool::ConcatLiteral(std::string_view text, ExprId rest) {
  for (size_t i = text.size(); i-- > 0 && !overflowed();) {
    rest = Concat(Bytes(ByteSet::Of(text.substr(i, 1))), rest);
  }
  return rest;
}

// The first part of a sequence is never a sequence itself; the rest is brought into that form when
// it is its turn, so that each step costs the same however long the parts are.
ExprId ExpressionPool::Concat(ExprId a, ExprId b) {
  if (!at(a).productive || !at(b).productive) return kNothing;
  if (a == kEmpty) {
    const Expression rest = at(b);
    return rest.kind == ExprKind::kConcat && at(rest.a).kind == ExprKind::kConcat
               ? Concat(rest.a, rest.b)
               : b;
  }
  if (b == kEmpty) return a;
  if (at(a).kind == ExprKind::kConcat) {
    const Expression first = at(a);
    const bool nullable = at(first.b).nullable && at(b).nullable;
    b = Intern({.kind = ExprKind::kConcat, .nullable = nullable, .a = first.b, .b = b});
    a = first.a;
  }
  const bool nullable = at(a).nullable && at(b).nullable;
  return Intern({.kind = ExprKind::kConcat, .nullable = nullable, .a = a, .b = b});
}

ExprId ExpressionPool::Sequence(std::initializer_list<ExprId> parts) {
  ExprId result = kEmpty;
  for (auto part = parts.end(); part != parts.begin();) result = Concat(*--part, result);
  return result;
}

ExprId ExpressionPool::OneOfTexts(std::vector<std::string> texts) {
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  return TextsFrom(texts, 0);
}

// The ends of ascending texts that agree in their first `depth` bytes.
ExprId ExpressionPool::TextsFrom(std::span<const std::string> texts, size_t depth) {
  if (texts.size() == 1) return Literal(std::string_view(texts.front()).substr(depth));
  std::vector<ExprId> out;
  while (!texts.empty() && texts.front().size() == depth) {
    out.push_back(kEmpty);
    texts = texts.subspan(1);
  }
  while (!texts.empty() && !overflowed()) {
    const std::string& first = texts.front();
    const auto differs = [&](const std::string& text) { return text[depth] != first[depth]; };
    const size_t count =
        static_cast<size_t>(std::find_if(texts.begin(), texts.end(), differs) - texts.begin());
    // What the first and the last one agree in, all between them agree in.
    const std::string& last = texts[count - 1];
    const auto end = std::mismatch(first.begin(), first.end(), last.begin(), last.end()).first;
    const size_t common = static_cast<size_t>(end - first.begin());
    out.push_back(ConcatLiteral(std::string_view(first).substr(depth, common - depth),
                                TextsFrom(texts.first(count), common)));
    texts = texts.subspan(count);
  }
  return Alternatives(std::move(out));
}

ExprId ExpressionPool::Alternatives(std::vector<ExprId> children) {
  if (overflowed()) return kNothing;
  std::erase_if(children, [this](ExprId id) { return !at(id).productive; });
  std::vector<ExprId> flat;
  ByteSet bytes;
  for (const ExprId child : children) {
    const Expression& node = at(child);
    if (node.kind == ExprKind::kBytes) {
      bytes = bytes | SetOf(node);
    } else if (node.kind == ExprKind::kAlternatives) {
      for (const ExprId inner : ChildrenOf(node)) {
        if (at(inner).kind == ExprKind::kBytes) {
          bytes = bytes | SetOf(at(inner));
        } else {
          flat.push_back(inner);
        }
      }
    } else {
      flat.push_back(child);
    }
  }
  // Sorting is most of it.
  if (!Spend(static_cast<int64_t>(children.size() + flat.size()))) return kNothing;
  if (!bytes.IsEmpty()) flat.push_back(Bytes(bytes));
  std::erase_if(flat, [this](ExprId id) { return !at(id).productive; });
  std::sort(flat.begin(), flat.end());
  flat.erase(std::unique(flat.begin(), flat.end()), flat.end());
  const auto is_nullable = [this](ExprId id) { return id != kEmpty && at(id).nullable; };
  const bool nullable = std::any_of(flat.begin(), flat.end(), is_nullable);
  if (nullable) std::erase(flat, kEmpty);
  if (flat.empty()) return kNothing;
  if (flat.size() == 1) return flat.front();
  const int32_t offset = static_cast<int32_t>(children_.size());
  const bool has_empty = flat.front() == kEmpty;
  children_.insert(children_.end(), flat.begin(), flat.end());
  return Intern({.kind = ExprKind::kAlternatives,
                 .nullable = nullable || has_empty,
                 .a = offset,
                 .b = static_cast<int32_t>(flat.size())});
}

ExprId ExpressionPool::Both(ExprId a, ExprId b) {
  if (a == b) return a;
  if (a > b) std::swap(a, b);
  if (!at(a).productive) return kNothing;
  if (a == kEmpty) return at(b).nullable ? kEmpty : kNothing;
  const bool nullable = at(a).nullable && at(b).nullable;
  return Intern({.kind = ExprKind::kBoth, .nullable = nullable, .a = a, .b = b});
}

ExprId ExpressionPool::Repeat(ExprId inner, int32_t min, int32_t max) {
  if (max == 0 || inner == kEmpty) return kEmpty;
  if (!at(inner).productive) return min == 0 ? kEmpty : kNothing;
  if (min == 1 && max == 1) return inner;
  if (at(inner).nullable) min = 0;
  return Intern(
      {.kind = ExprKind::kRepeat, .nullable = min == 0, .a = inner, .min = min, .max = max});
}

ExprId ExpressionPool::DeclareRule() {
  if (rules_.size() >= kMaxRules) {
    RunOutOf(Shortage::kMemory);
    return kNothing;
  }
  rules_.push_back(-1);
  return Intern({.kind = ExprKind::kRule, .a = static_cast<int32_t>(rules_.size()) - 1});
}

void ExpressionPool::DefineRule(ExprId rule, ExprId body) {
  if (rule == kNothing) return;  // the pool has overflowed
  TESSERA_CHECK(!at(body).nullable);
  rules_[Index(at(rule).a)] = body;
}

}  // namespace tessera::grammar
