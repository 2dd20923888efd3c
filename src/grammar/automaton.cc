#include "grammar/automaton.h"

#include <algorithm>
#include <utility>

namespace tessera::grammar {
namespace {

constexpr int kMaxDepth = 2000;
constexpr size_t kMaxSteps = size_t{1} << 23;
// Half of the pool is for the states that are made later.
constexpr size_t kMaxMadeNodes = ExpressionPool::kMaxNodes / 2;
constexpr size_t kMaxMadeChildren = ExpressionPool::kMaxChildren / 2;

}  // namespace

Result<std::unique_ptr<Automaton>> Automaton::Create(std::unique_ptr<ExpressionPool> pool,
                                                     ExprId root) {
  const auto too_large = [] {
    return InvalidArgument(
        "it takes too many states; use smaller counts (maxLength, maxItems, {m,n}), fewer "
        "optional properties or simpler patterns.");
  };
  if (pool->overflowed()) return too_large();
  TESSERA_RETURN_IF_ERROR(pool->Seal());
  std::unique_ptr<Automaton> automaton(new Automaton(std::move(pool)));
  automaton->MakeClasses();
  automaton->PruneIntersections();
  automaton->made_ = automaton->pool_->size();
  if (automaton->overflowed() || automaton->made_.nodes > kMaxMadeNodes ||
      automaton->made_.children > kMaxMadeChildren) {
    return too_large();
  }
  if (!automaton->pool_->at(root).productive) {
    return InvalidArgument("there is no finite text that it allows.");
  }
  automaton->start_ = root;
  automaton->SetBudget(ExpressionPool::kCompileWork);
  return automaton;
}

// All bytes are alike until a set holds some of them only.
void Automaton::MakeClasses() {
  constexpr int64_t kWorkPerSet = 8;  // 256 bytes are looked at
  int classes = 1;
  for (const ByteSet& set : pool_->sets()) {
    if (classes == 256 || !pool_->Spend(kWorkPerSet)) break;
    std::array<std::array<int16_t, 2>, 256> parts;  // of each class: outside and inside of the set
    for (auto& part : parts) part = {-1, -1};
    int next = 0;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const bool inside = set.Has(static_cast<uint8_t>(byte));
      int16_t& part = parts[class_of_[byte]][inside ? 1 : 0];
      if (part < 0) part = static_cast<int16_t>(next++);
      class_of_[byte] = static_cast<uint8_t>(part);
    }
    classes = next;
  }
  member_of_class_.resize(static_cast<size_t>(classes));
  for (unsigned byte = 256; byte-- > 0;) {
    member_of_class_[class_of_[byte]] = static_cast<uint8_t>(byte);
  }
}

// An intersection of two expressions may have no text although both have some. So all that can
// follow an intersection is looked at, and what leads to no end is marked. Intersections are made
// of regular expressions only: they have finitely many derivatives.
void Automaton::PruneIntersections() {
  std::vector<StateId> states;
  std::vector<int32_t> index(pool_->size().nodes, -1);
  const auto add = [&](StateId state) {
    if (static_cast<size_t>(state) >= index.size()) index.resize(pool_->size().nodes, -1);
    int32_t& slot = index[static_cast<size_t>(state)];
    if (slot >= 0) return;
    slot = static_cast<int32_t>(states.size());
    states.push_back(state);
  };
  for (size_t id = 0; id < index.size(); ++id) {
    if (pool_->at(static_cast<ExprId>(id)).kind == ExprKind::kBoth) add(static_cast<ExprId>(id));
  }
  if (states.empty()) return;
  std::vector<std::pair<StateId, StateId>> edges;  // from, to
  for (size_t i = 0; i < states.size(); ++i) {
    StateId last = kDead;
    for (size_t c = 0; c < member_of_class_.size(); ++c) {
      const StateId next = Derive(states[i], static_cast<int32_t>(c), 0);
      if (next == kDead || next == last) continue;
      last = next;
      add(next);
      edges.emplace_back(states[i], next);
      pool_->Spend(2);  // they are sorted later on
    }
    if (!pool_->Spend(1 + static_cast<int64_t>(member_of_class_.size()) / 4)) return;
  }
  std::sort(edges.begin(), edges.end(),
            [](const auto& a, const auto& b) { return a.second < b.second; });
  std::vector<bool> ends(states.size());
  std::vector<StateId> work;
  const auto reach = [&](StateId state) {
    const size_t i = static_cast<size_t>(index[static_cast<size_t>(state)]);
    if (ends[i]) return;
    ends[i] = true;
    work.push_back(state);
  };
  for (const StateId state : states) {
    if (pool_->at(state).nullable) reach(state);
  }
  while (!work.empty()) {
    const StateId to = work.back();
    work.pop_back();
    auto edge = std::lower_bound(edges.begin(), edges.end(), to,
                                 [](const auto& e, StateId id) { return e.second < id; });
    for (; edge != edges.end() && edge->second == to; ++edge) reach(edge->first);
  }
  for (size_t i = 0; i < states.size(); ++i) {
    if (!ends[i]) pool_->MarkUnproductive(states[i]);
  }
  pool_->FindUnproductive();
  // Steps made so far may lead to what is dead now.
  row_of_.clear();
  steps_.clear();
}

StateId Automaton::Derive(StateId state, int32_t byte_class, int depth) {
  if (state == kEmpty || !pool_->at(state).productive || pool_->overflowed()) return kDead;
  const size_t id = static_cast<size_t>(state);
  const size_t classes = member_of_class_.size();
  if (id >= row_of_.size()) row_of_.resize(std::max(pool_->size().nodes, id + 1), -1);
  if (row_of_[id] < 0) {
    if (steps_.size() + classes > kMaxSteps) {
      pool_->RunOutOf(Shortage::kMemory);
      return kDead;
    }
    row_of_[id] = static_cast<int32_t>(steps_.size() / classes);
    steps_.resize(steps_.size() + classes, -1);
  }
  const size_t step = static_cast<size_t>(row_of_[id]) * classes + static_cast<size_t>(byte_class);
  if (steps_[step] >= 0) return steps_[step];
  // What takes this depth takes it at the next try as well.
  if (depth > kMaxDepth) pool_->RunOutOf(Shortage::kWork);
  if (!pool_->Spend(1)) return kDead;
  const StateId next = Compute(state, byte_class, depth);
  if (pool_->overflowed()) return kDead;
  steps_[step] = next;
  return next;
}

StateId Automaton::Compute(StateId state, int32_t byte_class, int depth) {
  const Expression node = pool_->at(state);  // a copy: the pool grows
  const auto derive = [&](ExprId id) { return Derive(id, byte_class, depth + 1); };
  switch (node.kind) {
    case ExprKind::kNone:
    case ExprKind::kEmptyText:
      return kDead;
    case ExprKind::kBytes:
      return pool_->SetOf(node).Has(member_of_class_[static_cast<size_t>(byte_class)]) ? kEmpty
                                                                                       : kDead;
    case ExprKind::kConcat: {
      if (pool_->at(node.a).kind == ExprKind::kConcat) {
        return derive(pool_->Concat(node.a, node.b));
      }
      const StateId first = pool_->Concat(derive(node.a), node.b);
      if (!pool_->at(node.a).nullable) return first;
      return pool_->Alternatives({first, derive(node.b)});
    }
    case ExprKind::kAlternatives: {
      const auto children = pool_->ChildrenOf(node);
      std::vector<ExprId> next(children.begin(), children.end());
      for (ExprId& child : next) child = derive(child);
      return pool_->Alternatives(std::move(next));
    }
    case ExprKind::kBoth: {
      const StateId a = derive(node.a);
      return a == kDead ? kDead : pool_->Both(a, derive(node.b));
    }
    case ExprKind::kRepeat: {
      const int32_t max = node.max == kUnbounded ? kUnbounded : node.max - 1;
      const StateId rest = pool_->Repeat(node.a, std::max(node.min - 1, 0), max);
      return pool_->Concat(derive(node.a), rest);
    }
    case ExprKind::kRule:
      return derive(pool_->BodyOf(node));
  }
  return kDead;
}

void Automaton::DropUnused(std::span<StateId> states) {
  pool_->DropUnused(made_, states);
  row_of_.clear();
  steps_.clear();
}

double Automaton::fill() const {
  const auto share = [](size_t now, size_t made, size_t most) {
    return static_cast<double>(now - made) / static_cast<double>(most - made);
  };
  const PoolSize now = pool_->size();
  return std::max(share(now.nodes, made_.nodes, ExpressionPool::kMaxNodes),
                  share(now.children, made_.children, ExpressionPool::kMaxChildren));
}

size_t Automaton::MemoryBytes() const {
  return pool_->MemoryBytes() + (row_of_.capacity() + steps_.capacity()) * sizeof(int32_t);
}

}  // namespace tessera::grammar
