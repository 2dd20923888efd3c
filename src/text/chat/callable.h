// What a template can call: global functions, methods bound to their value, and macros.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "text/chat/value.h"

namespace tessera::chat {

class Interpreter;

// The evaluated arguments of a call, a filter or a test.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keywords;
};

// Matches arguments with parameter names; absent ones stay null. Fails on arguments that match
// nothing, as Python does. `function` names the callee in messages.
class BoundArguments {
 public:
  BoundArguments(std::string function, const Arguments& arguments,
                 std::initializer_list<const char*> names, size_t required = 0);
  const Value* operator[](size_t index) const { return values_[index]; }
  int64_t Integer(size_t index, int64_t fallback) const;
  bool Flag(size_t index, bool fallback) const;
  std::string Text(size_t index, const std::string& fallback) const;

 private:
  std::string function_;
  std::vector<const Value*> values_;
};

class Callable {
 public:
  using Function = std::function<Value(Interpreter*, const Arguments&)>;
  // `depth` is that of the values the function holds on to.
  Callable(std::string name, Function function, int depth = 0)
      : name_(std::move(name)), function_(std::move(function)), depth_(depth + 1) {}
  const std::string& name() const { return name_; }
  int depth() const { return depth_; }
  Value Call(Interpreter* interpreter, const Arguments& arguments) const {
    return function_(interpreter, arguments);
  }

 private:
  std::string name_;
  Function function_;
  int depth_;
};

Value MakeFunction(std::string name, Callable::Function function, int depth = 0);

}  // namespace tessera::chat
