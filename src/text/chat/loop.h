// The state of a running for loop, which the template sees as `loop`.
#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "text/chat/value.h"

namespace tessera::chat {

class LoopState {
 public:
  // `keep` is the condition of "for x in y if condition", run when an item is looked at; may be
  // empty.
  LoopState(std::vector<Value> source, std::function<bool(const Value&)> keep);

  // Moves to the next item; false at the end.
  bool Advance();
  const Value& current() const { return items_[index_]; }
  // loop.<name>; nothing when there is no such name.
  std::optional<Value> Attribute(std::string_view name);
  // loop.changed(value)
  bool Changed(const std::vector<Value>& values);
  int64_t index0() const { return static_cast<int64_t>(index_); }
  int depth() const { return depth_; }
  // The condition refers to the interpreter's variables, which end with the loop.
  void Finish() { keep_ = nullptr; }

 private:
  bool Pull();  // finds one more item that is kept
  std::vector<Value> source_;
  std::function<bool(const Value&)> keep_;
  std::vector<Value> items_;
  std::optional<std::vector<Value>> last_changed_;
  size_t position_ = 0;
  size_t index_ = 0;
  bool started_ = false;
  int depth_;
};

}  // namespace tessera::chat
