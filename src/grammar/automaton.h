// A text read byte by byte against an expression.
//
// States are expressions: what may still follow. The next state is the expression's derivative by
// the byte (Brzozowski, "Derivatives of Regular Expressions", 1964). A sequence of expressions is
// the stack of a pushdown automaton: its beginning is what is being read, the rest what has to
// follow. States and steps are made when they are first needed, and kept as long as there is room.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "grammar/expression.h"
#include "tessera/result.h"

namespace tessera::grammar {

using StateId = ExprId;
constexpr StateId kDead = kNothing;

// Not thread-safe.
class Automaton {
 public:
  // Fails, with the end of a sentence that begins with what is at fault, if no text is possible
  // or the expression takes too much.
  static Result<std::unique_ptr<Automaton>> Create(std::unique_ptr<ExpressionPool> pool,
                                                   ExprId root);

  StateId start() const { return start_; }

  // kDead: nothing that begins so is allowed. From every other state some text leads to an end.
  StateId Next(StateId state, uint8_t byte) { return Derive(state, class_of_[byte], 0); }

  // Whether the text may end here, and whether it must.
  bool MayEnd(StateId state) const { return pool_->at(state).nullable; }
  bool MustEnd(StateId state) const { return state == kEmpty; }

  // If the budget of work or the memory is used up, kDead is no answer. What has been found out
  // until then is kept: another try may come further.
  Shortage shortage() const { return pool_->shortage(); }
  bool overflowed() const { return pool_->overflowed(); }
  // Ends a shortage. The units are those of ExpressionPool; at first there is as much as for
  // compiling.
  void SetBudget(int64_t work) { pool_->SetBudget(work); }
  int64_t work_left() const { return pool_->work_left(); }

  // Ends a shortage of memory: drops all steps, and all states made since Create() that none of
  // `states` needs; `states` are changed to their new ids. The ids of permanent states stay.
  void DropUnused(std::span<StateId> states);
  bool IsPermanent(StateId state) const { return static_cast<size_t>(state) < made_.nodes; }
  // What a state takes of that which DropUnused() can free, and how much of it is taken, in 0 to 1.
  size_t SizeOf(StateId state) const { return pool_->CountNeeded(made_.nodes, state); }
  double fill() const;

  size_t MemoryBytes() const;

 private:
  explicit Automaton(std::unique_ptr<ExpressionPool> pool) : pool_(std::move(pool)) {}

  void MakeClasses();
  void PruneIntersections();
  StateId Derive(StateId state, int32_t byte_class, int depth);
  StateId Compute(StateId state, int32_t byte_class, int depth);

  std::unique_ptr<ExpressionPool> pool_;
  StateId start_ = kDead;
  PoolSize made_;  // by Create()
  // Bytes that every set holds all of or none of behave alike.
  std::array<uint8_t, 256> class_of_{};
  std::vector<uint8_t> member_of_class_;  // [classes]: one byte of each
  std::vector<int32_t> row_of_;           // [states]: of steps_, or -1
  std::vector<StateId> steps_;            // [rows, classes], or -1: not made yet
};

}  // namespace tessera::grammar
