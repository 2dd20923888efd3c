// A text read byte by byte against an expression.
//
// States are expressions: what may still follow. The next state is the expression's derivative by
// the byte (Brzozowski, "Derivatives of Regular Expressions", 1964). A sequence of expressions is
// the stack of a pushdown automaton: its beginning is what is being read, the rest what has to
// follow. States and steps are made when they are first needed, and kept.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "grammar/expression.h"
#include "tessera/result.h"

namespace tessera::grammar {

using StateId = ExprId;
constexpr StateId kDead = kNothing;

// Not thread-safe.
class Automaton {
 public:
  // Fails, with the end of a sentence that begins with what is at fault, where no text is possible
  // or the expression takes too much.
  static Result<std::unique_ptr<Automaton>> Create(std::unique_ptr<ExpressionPool> pool,
                                                   ExprId root);

  StateId start() const { return start_; }

  // kDead: nothing that begins so is allowed. From every other state some text leads to an end.
  StateId Next(StateId state, uint8_t byte) { return Derive(state, class_of_[byte], 0); }

  // Whether the text may end here, and whether it must.
  bool MayEnd(StateId state) const { return pool_->at(state).nullable; }
  bool MustEnd(StateId state) const { return state == kEmpty; }

  // The limits are reached, and kDead is no answer any more.
  bool overflowed() const { return pool_->overflowed(); }
  // How much of the limits is used, in 0 to 1.
  double fill() const {
    return static_cast<double>(pool_->size()) / static_cast<double>(ExpressionPool::kMaxNodes);
  }

 private:
  explicit Automaton(std::unique_ptr<ExpressionPool> pool) : pool_(std::move(pool)) {}

  void MakeClasses();
  void PruneIntersections();
  StateId Derive(StateId state, int32_t byte_class, int depth);
  StateId Compute(StateId state, int32_t byte_class, int depth);

  std::unique_ptr<ExpressionPool> pool_;
  StateId start_ = kDead;
  // Bytes that every set holds all of or none of behave alike.
  std::array<uint8_t, 256> class_of_{};
  std::vector<uint8_t> member_of_class_;  // [classes]: one byte of each
  std::vector<int32_t> row_of_;           // [states]: of steps_, or -1
  std::vector<StateId> steps_;            // [rows, classes], or -1: not made yet
};

}  // namespace tessera::grammar
