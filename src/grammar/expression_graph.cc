// What concerns the graph of a pool's expressions as a whole.
#include <algorithm>
#include <utility>

#include "grammar/expression.h"

namespace tessera::grammar {

Status ExpressionPool::Seal() {
  for (ExprId& body : rules_) {
    if (body < 0) body = kNothing;  // never defined, as the pool overflowed
  }
  // It looks at each expression and child once.
  if (!Spend(static_cast<int64_t>(nodes_.size() + children_.size()) / 4)) return {};
  TESSERA_RETURN_IF_ERROR(CheckBeginnings());
  FindUnproductive();
  return {};
}

template <typename Visitor>
void ExpressionPool::VisitParts(const Expression& node, const Visitor& visit) const {
  switch (node.kind) {
    case ExprKind::kConcat:
    case ExprKind::kBoth:
      visit(node.a);
      visit(node.b);
      break;
    case ExprKind::kRepeat:
      visit(node.a);
      break;
    case ExprKind::kRule:
      if (BodyOf(node) >= 0) visit(BodyOf(node));
      break;
    case ExprKind::kAlternatives:
      for (const ExprId child : ChildrenOf(node)) visit(child);
      break;
    default:
      break;
  }
}

// The least fixed point: what is built from finite texts. Each time that an expression is found to
// have one, those that are made of it are looked at.
void ExpressionPool::FindUnproductive() {
  std::vector<int32_t> first_user(nodes_.size() + 1);  // of users: of each node's part
  const auto each_part = [this](const auto& action) {
    for (size_t id = 0; id < nodes_.size(); ++id) {
      VisitParts(nodes_[id], [&](ExprId part) { action(id, Index(part)); });
    }
  };
  each_part([&](size_t /*user*/, size_t part) { ++first_user[part]; });
  int32_t total = 0;
  for (int32_t& entry : first_user) entry = total += entry;
  if (!Spend(static_cast<int64_t>(nodes_.size()) / 4 + total / 4)) return;
  std::vector<ExprId> users(static_cast<size_t>(total));
  each_part([&](size_t user, size_t part) {
    users[Index(--first_user[part])] = static_cast<ExprId>(user);
  });
  std::vector<ExprId> found;
  const auto look_at = [&](size_t id) {
    Expression& node = nodes_[id];
    if (node.productive || node.marked || !IsProductive(node)) return;
    node.productive = true;
    found.push_back(static_cast<ExprId>(id));
  };
  for (Expression& node : nodes_) node.productive = false;
  for (size_t id = 0; id < nodes_.size(); ++id) look_at(id);
  while (!found.empty()) {
    const size_t part = Index(found.back());
    found.pop_back();
    for (int32_t i = first_user[part]; i < first_user[part + 1]; ++i)
      look_at(Index(users[Index(i)]));
  }
}

std::vector<ExprId> ExpressionPool::BeginningsOf(ExprId id) const {
  const Expression& node = at(id);
  switch (node.kind) {
    case ExprKind::kConcat:
      if (at(node.a).nullable) return {node.a, node.b};
      return {node.a};
    case ExprKind::kBoth:
      return {node.a, node.b};
    case ExprKind::kRepeat:
      return {node.a};
    case ExprKind::kRule:
      return {BodyOf(node)};
    case ExprKind::kAlternatives: {
      const auto children = ChildrenOf(node);
      return {children.begin(), children.end()};
    }
    default:
      return {};
  }
}

// A search in depth for a circle of beginnings.
Status ExpressionPool::CheckBeginnings() const {
  enum class Mark : uint8_t { kNew, kOpen, kDone };
  std::vector<Mark> marks(nodes_.size(), Mark::kNew);
  struct Visit {
    ExprId id;
    std::vector<ExprId> next;
  };
  std::vector<Visit> path;
  for (const ExprId body : rules_) {
    if (marks[Index(body)] != Mark::kNew) continue;
    marks[Index(body)] = Mark::kOpen;
    path.push_back({body, BeginningsOf(body)});
    while (!path.empty()) {
      if (path.back().next.empty()) {
        marks[Index(path.back().id)] = Mark::kDone;
        path.pop_back();
        continue;
      }
      const ExprId child = path.back().next.back();
      path.back().next.pop_back();
      if (marks[Index(child)] == Mark::kOpen) {
        return InvalidArgument(
            "its $ref lead in a circle back to themselves, without a value in between; give the "
            "definitions a type.");
      }
      if (marks[Index(child)] == Mark::kDone) continue;
      marks[Index(child)] = Mark::kOpen;
      path.push_back({child, BeginningsOf(child)});
    }
  }
  return {};
}

// Parts of an expression have lower ids than itself, or are rules' bodies, which are kept anyway.
std::vector<bool> ExpressionPool::FindNeeded(size_t kept, std::span<const ExprId> roots) const {
  std::vector<bool> needed(nodes_.size() - kept);
  std::vector<ExprId> work;
  const auto need = [&](ExprId id) {
    if (Index(id) < kept || needed[Index(id) - kept]) return;
    needed[Index(id) - kept] = true;
    work.push_back(id);
  };
  for (const ExprId root : roots) need(root);
  while (!work.empty()) {
    const Expression& node = at(work.back());
    work.pop_back();
    VisitParts(node, need);
  }
  return needed;
}

size_t ExpressionPool::CountNeeded(size_t kept, ExprId root) const {
  const std::vector<bool> needed = FindNeeded(kept, std::span(&root, 1));
  size_t count = 0;
  for (size_t i = 0; i < needed.size(); ++i) {
    const Expression& node = nodes_[kept + i];
    if (needed[i]) count += node.kind == ExprKind::kAlternatives ? 1 + Index(node.b) : 1;
  }
  return count;
}

void ExpressionPool::DropUnused(const PoolSize& kept, std::span<ExprId> roots) {
  const std::vector<bool> needed = FindNeeded(kept.nodes, roots);
  for (size_t id = kept.nodes; id < nodes_.size(); ++id) known_.erase(static_cast<ExprId>(id));
  const std::vector<Expression> nodes(nodes_.begin() + static_cast<int64_t>(kept.nodes),
                                      nodes_.end());
  const std::vector<ExprId> children(children_.begin() + static_cast<int64_t>(kept.children),
                                     children_.end());
  const std::vector<ByteSet> sets(sets_.begin() + static_cast<int64_t>(kept.sets), sets_.end());
  for (const ByteSet& set : sets) known_sets_.erase(set);
  nodes_.resize(kept.nodes);
  children_.resize(kept.children);
  sets_.resize(kept.sets);
  std::vector<ExprId> new_ids(nodes.size());
  const auto renew = [&](ExprId id) {
    return Index(id) < kept.nodes ? id : new_ids[Index(id) - kept.nodes];
  };
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (!needed[i]) continue;
    Expression node = nodes[i];
    switch (node.kind) {
      case ExprKind::kBytes:
        if (Index(node.a) >= kept.sets) node.a = InternSet(sets[Index(node.a) - kept.sets]);
        break;
      case ExprKind::kAlternatives: {
        const size_t begin = Index(node.a) - kept.children;
        node.a = static_cast<int32_t>(children_.size());
        for (size_t k = 0; k < Index(node.b); ++k) children_.push_back(renew(children[begin + k]));
        break;
      }
      case ExprKind::kConcat:
      case ExprKind::kBoth:
        node.a = renew(node.a);
        node.b = renew(node.b);
        break;
      case ExprKind::kRepeat:
        node.a = renew(node.a);
        break;
      default:
        break;
    }
    new_ids[i] = static_cast<ExprId>(nodes_.size());
    nodes_.push_back(node);
    known_.insert(new_ids[i]);
  }
  for (ExprId& root : roots) root = renew(root);
}

size_t ExpressionPool::MemoryBytes() const {
  constexpr size_t kEntry = 3 * sizeof(void*);  // of a hash table
  return nodes_.capacity() * sizeof(Expression) + known_.size() * kEntry +
         children_.capacity() * sizeof(ExprId) + sets_.size() * (2 * sizeof(ByteSet) + kEntry) +
         rules_.size() * sizeof(ExprId);
}

}  // namespace tessera::grammar
