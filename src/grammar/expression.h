// Expressions: what a text may be, as a graph of hash-consed nodes. Regular expressions over bytes,
// with intersection, and with rules that may refer to each other and to themselves.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "grammar/byte_set.h"
#include "tessera/result.h"

namespace tessera::grammar {

using ExprId = int32_t;
constexpr ExprId kNothing = 0;  // no text at all
constexpr ExprId kEmpty = 1;    // the empty text alone
constexpr int32_t kUnbounded = -1;

enum class ExprKind : uint8_t {
  kNone,
  kEmptyText,
  kBytes,         // one byte of set `a`
  kConcat,        // `a`, then `b`
  kAlternatives,  // one of `b` children from offset `a` on
  kBoth,          // what is `a` as well as `b`
  kRepeat,        // `a`, from `min` to `max` times
  kRule,          // what rule `a` stands for
};

struct Expression {
  ExprKind kind = ExprKind::kNone;
  bool nullable = false;   // the empty text is among its texts
  bool productive = true;  // false: it is known that it has no text at all
  bool marked = false;     // by MarkUnproductive
  int32_t a = 0;
  int32_t b = 0;
  int32_t min = 0;
  int32_t max = 0;
};

// How much is in a pool.
struct PoolSize {
  size_t nodes = 0, children = 0, sets = 0;
};

// What a pool has run out of.
enum class Shortage : uint8_t { kNone, kWork, kMemory };

// Equal expressions have equal ids, as far as the constructors see that they are equal.
//
// Whatever is done with expressions counts as work: about one unit for each node, child or step
// that is made or looked at, which takes 30 to 100 ns. A pool that has used its budget of work or
// its memory answers kNothing and says so in shortage(); SetBudget() lets it continue. Not
// thread-safe.
class ExpressionPool {
 public:
  static constexpr size_t kMaxNodes = size_t{1} << 19;
  static constexpr size_t kMaxChildren = size_t{1} << 22;
  static constexpr size_t kMaxRules = 4096;
  static constexpr int64_t kCompileWork = 10'000'000;  // what a new pool may spend

  ExpressionPool();
  ExpressionPool(const ExpressionPool&) = delete;
  ExpressionPool& operator=(const ExpressionPool&) = delete;

  ExprId Bytes(const ByteSet& set);
  ExprId Literal(std::string_view text);
  ExprId Concat(ExprId a, ExprId b);
  ExprId Sequence(std::initializer_list<ExprId> parts);
  // One of the texts. What they have in common at their beginnings is there once.
  ExprId OneOfTexts(std::vector<std::string> texts);
  ExprId Alternatives(std::vector<ExprId> children);
  ExprId Both(ExprId a, ExprId b);
  // `max` may be kUnbounded; otherwise it is at least `min`.
  ExprId Repeat(ExprId inner, int32_t min, int32_t max);
  ExprId Optional(ExprId inner) { return Repeat(inner, 0, 1); }

  // A rule whose body follows; nothing of it is the empty text.
  ExprId DeclareRule();
  void DefineRule(ExprId rule, ExprId body);

  // The rules are complete: finds the expressions without any text, which all constructors answer
  // with kNothing from now on. Fails if a rule begins with itself, so that no text would ever
  // begin.
  Status Seal();
  // Expressions that turned out to have no text; FindUnproductive spreads it to those that need
  // them.
  void MarkUnproductive(ExprId id) { nodes_[Index(id)].marked = true; }
  void FindUnproductive();

  // Drops the nodes made after the first `kept` ones that none of `roots` needs. The others keep
  // their order, but not their ids: `roots` are changed to the new ones.
  void DropUnused(const PoolSize& kept, std::span<ExprId> roots);
  // How many nodes and children after the first `kept` nodes an expression needs.
  size_t CountNeeded(size_t kept, ExprId root) const;

  const Expression& at(ExprId id) const { return nodes_[Index(id)]; }
  std::span<const ExprId> ChildrenOf(const Expression& node) const {
    return std::span(children_).subspan(Index(node.a), Index(node.b));
  }
  const ByteSet& SetOf(const Expression& node) const { return sets_[Index(node.a)]; }
  ExprId BodyOf(const Expression& node) const { return rules_[Index(node.a)]; }
  const std::vector<ByteSet>& sets() const { return sets_; }
  PoolSize size() const { return {nodes_.size(), children_.size(), sets_.size()}; }
  size_t MemoryBytes() const;

  // Counts the work; false if it is more than there is.
  bool Spend(int64_t work) {
    work_left_ -= work;
    if (work_left_ < 0) RunOutOf(Shortage::kWork);
    return shortage_ == Shortage::kNone;
  }
  void RunOutOf(Shortage what) {
    if (shortage_ == Shortage::kNone) shortage_ = what;
  }
  Shortage shortage() const { return shortage_; }
  bool overflowed() const { return shortage_ != Shortage::kNone; }
  // Begins again with so much work.
  void SetBudget(int64_t work) {
    work_left_ = work;
    shortage_ = Shortage::kNone;
  }
  int64_t work_left() const { return work_left_; }

 private:
  struct Hash {
    const ExpressionPool* pool;
    size_t operator()(ExprId id) const;
  };
  struct Equal {
    const ExpressionPool* pool;
    bool operator()(ExprId a, ExprId b) const;
  };

  static size_t Index(int32_t value) { return static_cast<size_t>(value); }
  ExprId Intern(Expression node);
  int32_t InternSet(const ByteSet& set);
  ExprId ConcatLiteral(std::string_view text, ExprId rest);
  ExprId TextsFrom(std::span<const std::string> texts, size_t depth);
  bool IsProductive(const Expression& node) const;
  // The nodes that it is made of, rules' bodies included.
  template <typename Visitor>
  void VisitParts(const Expression& node, const Visitor& visit) const;
  std::vector<bool> FindNeeded(size_t kept, std::span<const ExprId> roots) const;
  Status CheckBeginnings() const;
  // The expressions whose texts begin those of `id`.
  std::vector<ExprId> BeginningsOf(ExprId id) const;

  std::vector<Expression> nodes_;
  std::vector<ExprId> children_;
  std::vector<ByteSet> sets_;
  std::vector<ExprId> rules_;  // bodies
  std::unordered_set<ExprId, Hash, Equal> known_;
  struct SetHash {
    size_t operator()(const ByteSet& set) const { return set.Hash(); }
  };
  std::unordered_map<ByteSet, int32_t, SetHash> known_sets_;
  int64_t work_left_ = kCompileWork;
  Shortage shortage_ = Shortage::kNone;
};

}  // namespace tessera::grammar
