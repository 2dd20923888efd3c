// Runs a parsed template. One interpreter renders once, on one thread.
#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat/ast.h"
#include "text/chat/callable.h"
#include "text/chat/value.h"

namespace tessera::chat {

// Variables of one block; what it does not hold is looked up in the block around it.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<std::string, Value>> variables;
  void Set(const std::string& name, Value value);
};

// Of one rendering.
struct Limits {
  int64_t steps = 0;
  int64_t bytes = 0;
};

class Interpreter {
 public:
  Interpreter(const Value& context, const std::tm& now, const Limits& limits);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  // Throws TemplateError; line() then tells where.
  std::string Render(const Body& body);
  int line() const { return line_; }
  const std::tm& now() const { return now_; }

  Value Call(const Value& callee, const Arguments& arguments);
  Value Filter(const std::string& name, const Value& operand, const Arguments& arguments);
  bool Test(const std::string& name, const Value& operand, const Arguments& arguments);
  // Counts work and memory against the limits: steps of evaluation, and bytes
  // ever allocated for texts and containers.
  void Charge(int64_t steps, int64_t bytes = 0);
  Value MakeText(std::string text, bool safe = false);
  std::shared_ptr<Namespace> MakeNamespace();

 private:
  enum class Flow { kNext, kBreak, kContinue };
  friend class ScopeGuard;

  Flow Run(const Body& body);
  Flow Run(const Statement& statement);
  Flow RunFor(const Statement& loop);
  std::string Capture(const Body& body, Flow* flow);
  void Assign(const Expression& target, const Value& value);
  Value MakeMacro(const Statement& macro);
  Value CallMacro(const Statement& macro, const std::shared_ptr<Scope>& closure,
                  const Arguments& arguments);
  void Write(std::string_view text);

  Value Evaluate(const Expression& expression);
  Value EvaluateNode(const Expression& expression);
  Value EvaluateDict(const Expression& expression);
  Value EvaluateCompare(const Expression& expression);
  Value EvaluateItem(const Expression& expression);
  Value EvaluateFilter(const Expression& expression, const Value& operand);
  Value EvaluateCall(const Expression& expression, const Value* caller);
  Arguments EvaluateArguments(const ArgumentList& list);
  Value Lookup(const std::string& name);

  std::shared_ptr<Scope> scope_;
  std::tm now_;
  const Limits limits_;
  std::string* out_ = nullptr;
  const Value* filter_input_ = nullptr;  // the text that a filter without an operand works on
  int line_ = 1;
  int depth_ = 0;
  int64_t steps_ = 0;
  int64_t bytes_ = 0;
  // Macros and namespaces can refer to each other in circles; these are broken at the end.
  std::vector<std::shared_ptr<Scope>> captured_scopes_;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
};

// Parts of the runtime, one file each.
Value GetAttribute(const Value& object, const std::string& name);  // object.name
Value GetItem(const Value& object, const Value& index);            // object[index]
Value GetSlice(const Value& object, const Value& start, const Value& stop, const Value& step);
// A method or attribute that the Python type of `object` has; nothing if it has none.
std::optional<Value> FindMember(const Value& object, const std::string& name);
std::optional<Value> FindTextMethod(const Value& object, const std::string& name);
std::optional<Value> FindGlobal(const std::string& name);
Value BinaryOperation(Interpreter* interpreter, const std::string& op, const Value& a,
                      const Value& b);
bool Contains(Interpreter* interpreter, const Value& container, const Value& item);
// The items that a loop over `value` sees; uses up an iterator.
std::vector<Value> Iterate(Interpreter* interpreter, const Value& value);
int64_t Length(const Value& value);

}  // namespace tessera::chat
