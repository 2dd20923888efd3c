// Expressions: what a text may be, as a graph of hash-consed nodes. Regular expressions over bytes,
// with intersection, and with rules that may refer to each other and to themselves.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
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

// Equal expressions have equal ids, as far as the constructors see that they are equal. A pool that
// has reached its limits answers kNothing and says so in overflowed(). Not thread-safe.
class ExpressionPool {
 public:
  static constexpr size_t kMaxNodes = size_t{1} << 20;
  static constexpr size_t kMaxChildren = size_t{1} << 22;
  static constexpr size_t kMaxRules = 4096;

  ExpressionPool();
  ExpressionPool(const ExpressionPool&) = delete;
  ExpressionPool& operator=(const ExpressionPool&) = delete;

  ExprId Bytes(const ByteSet& set);
  ExprId Literal(std::string_view text);
  ExprId Concat(ExprId a, ExprId b);
  ExprId Sequence(std::initializer_list<ExprId> parts);
  ExprId Alternatives(std::vector<ExprId> children);
  ExprId Both(ExprId a, ExprId b);
  // `max` may be kUnbounded; otherwise it is at least `min`.
  ExprId Repeat(ExprId inner, int32_t min, int32_t max);
  ExprId Optional(ExprId inner) { return Repeat(inner, 0, 1); }

  // A rule whose body follows; nothing of it is the empty text.
  ExprId DeclareRule();
  void DefineRule(ExprId rule, ExprId body);

  // The rules are complete: finds the expressions without any text, which all constructors answer
  // with kNothing from now on. Fails where a rule begins with itself, so that no text would ever
  // begin.
  Status Seal();
  // Expressions that turned out to have no text; FindUnproductive spreads it to those that need
  // them.
  void MarkUnproductive(ExprId id) { nodes_[Index(id)].marked = true; }
  void FindUnproductive();

  const Expression& at(ExprId id) const { return nodes_[Index(id)]; }
  std::span<const ExprId> ChildrenOf(const Expression& node) const {
    return std::span(children_).subspan(Index(node.a), Index(node.b));
  }
  const ByteSet& SetOf(const Expression& node) const { return sets_[Index(node.a)]; }
  ExprId BodyOf(const Expression& node) const { return rules_[Index(node.a)]; }
  const std::vector<ByteSet>& sets() const { return sets_; }
  size_t size() const { return nodes_.size(); }
  bool overflowed() const { return overflowed_; }
  void SetOverflowed() { overflowed_ = true; }

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
  bool IsProductive(const Expression& node) const;
  Status CheckBeginnings() const;
  // The expressions whose texts begin those of `id`.
  std::vector<ExprId> BeginningsOf(ExprId id) const;

  std::vector<Expression> nodes_;
  std::vector<ExprId> children_;
  std::vector<ByteSet> sets_;
  std::vector<ExprId> rules_;  // bodies
  std::unordered_set<ExprId, Hash, Equal> known_;
  bool overflowed_ = false;
};

}  // namespace tessera::grammar
