#include "text/chat/interpreter.h"

#include <utility>

#include "text/chat/error.h"
#include "text/chat/format.h"
#include "text/chat/loop.h"

namespace tessera::chat {
namespace {

constexpr size_t kMaxTracked = 100'000;  // macros and namespaces of one rendering
constexpr int kMaxDepth = 1000;          // of statements and expressions inside each other

}  // namespace

// Gives a block variables of its own for as long as the guard lives.
class ScopeGuard {
 public:
  ScopeGuard(Interpreter* interpreter, std::shared_ptr<Scope> parent)
      : interpreter_(interpreter), outer_(std::move(interpreter->scope_)) {
    interpreter_->scope_ = std::make_shared<Scope>();
    interpreter_->scope_->parent = parent != nullptr ? std::move(parent) : outer_;
  }
  ~ScopeGuard() { interpreter_->scope_ = std::move(outer_); }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;

 private:
  Interpreter* interpreter_;
  std::shared_ptr<Scope> outer_;
};

void Scope::Set(const std::string& name, Value value) {
  for (auto& [key, old] : variables) {
    if (key == name) {
      old = std::move(value);
      return;
    }
  }
  variables.emplace_back(name, std::move(value));
}

Interpreter::Interpreter(const Value& context, const std::tm& now, const Limits& limits)
    : scope_(std::make_shared<Scope>()), now_(now), limits_(limits) {
  for (const auto& [name, value] : context.dict()->entries()) {
    scope_->variables.emplace_back(name.text(), value);
  }
}

Interpreter::~Interpreter() {
  for (const auto& scope : captured_scopes_) scope->variables.clear();
  for (const auto& space : namespaces_) space->attributes.clear();
}

std::string Interpreter::Render(const Body& body) {
  std::string out;
  out_ = &out;
  const ScopeGuard guard(this, nullptr);
  Run(body);
  return out;
}

void Interpreter::Charge(int64_t steps, int64_t bytes) {
  steps_ += steps;
  bytes_ += bytes;
  if (steps_ > limits_.steps) {
    Fail("The template takes more than " + std::to_string(limits_.steps) + " steps.");
  }
  if (bytes_ > limits_.bytes) {
    Fail("The template builds values of more than " + std::to_string(limits_.bytes) + " bytes.");
  }
}

Value Interpreter::MakeText(std::string text, bool safe) {
  if (text.size() > kMaxTextBytes) Fail("A text grows beyond 64 MiB.");
  const auto size = static_cast<int64_t>(text.size());
  Charge(size / 64, size);
  return Value(std::move(text), safe);
}

std::shared_ptr<Namespace> Interpreter::MakeNamespace() {
  if (namespaces_.size() >= kMaxTracked) Fail("The template makes more than 100000 namespaces.");
  namespaces_.push_back(std::make_shared<Namespace>());
  return namespaces_.back();
}

void Interpreter::Write(std::string_view text) {
  if (out_->size() + text.size() > kMaxTextBytes) Fail("The output grows beyond 64 MiB.");
  out_->append(text);
}

Interpreter::Flow Interpreter::Run(const Body& body) {
  if (depth_ >= kMaxDepth) Fail("Macros call each other too deeply.");
  ++depth_;
  Flow flow = Flow::kNext;
  for (const auto& statement : body) {
    flow = Run(*statement);
    if (flow != Flow::kNext) break;
  }
  --depth_;
  return flow;
}

Interpreter::Flow Interpreter::Run(const Statement& statement) {
  using Kind = Statement::Kind;
  line_ = statement.line;
  Charge(1);
  Flow flow = Flow::kNext;
  switch (statement.kind) {
    case Kind::kText:
      Write(statement.text);
      break;
    case Kind::kOutput:
      Write(ToText(Evaluate(*statement.expression)));
      break;
    case Kind::kSet:
      Assign(*statement.target, Evaluate(*statement.expression));
      break;
    case Kind::kSetBlock:
    case Kind::kFilterBlock: {
      Value text = MakeText(Capture(statement.body, &flow));
      if (flow != Flow::kNext) break;
      if (statement.expression != nullptr) {
        const Value* outer = std::exchange(filter_input_, &text);
        Value filtered = Evaluate(*statement.expression);
        filter_input_ = outer;
        text = std::move(filtered);
      }
      if (statement.kind == Kind::kSetBlock) {
        Assign(*statement.target, text);
      } else {
        Write(ToText(text));
      }
      break;
    }
    case Kind::kFor:
      return RunFor(statement);
    case Kind::kIf:
      return Run(Evaluate(*statement.expression).IsTruthy() ? statement.body : statement.orelse);
    case Kind::kMacro:
      scope_->Set(statement.name, MakeMacro(statement));
      break;
    case Kind::kCallBlock: {
      const Value caller = MakeMacro(statement);
      Write(ToText(EvaluateCall(*statement.expression, &caller)));
      break;
    }
    case Kind::kWith: {
      std::vector<Value> values;
      for (const auto& assignment : statement.assignments) {
        values.push_back(Evaluate(*assignment.second));
      }
      const ScopeGuard guard(this, nullptr);
      for (size_t i = 0; i < values.size(); ++i) {
        Assign(*statement.assignments[i].first, values[i]);
      }
      return Run(statement.body);
    }
    case Kind::kScope: {
      const ScopeGuard guard(this, nullptr);
      return Run(statement.body);
    }
    case Kind::kBreak:
      return Flow::kBreak;
    case Kind::kContinue:
      return Flow::kContinue;
  }
  return flow;
}

std::string Interpreter::Capture(const Body& body, Flow* flow) {
  std::string text;
  std::string* outer = std::exchange(out_, &text);
  const ScopeGuard guard(this, nullptr);
  *flow = Run(body);
  out_ = outer;
  return text;
}

Interpreter::Flow Interpreter::RunFor(const Statement& loop) {
  std::vector<Value> source = Iterate(this, Evaluate(*loop.expression));
  std::function<bool(const Value&)> keep;
  if (loop.condition != nullptr) {
    keep = [this, &loop, outer = scope_](const Value& item) {
      const ScopeGuard guard(this, outer);
      Assign(*loop.target, item);
      return Evaluate(*loop.condition).IsTruthy();
    };
  }
  const auto state = std::make_shared<LoopState>(std::move(source), std::move(keep));
  // A pass that is broken off or continued counts as none for the else branch, as in Jinja.
  bool completed = false;
  while (state->Advance()) {
    Charge(1);
    const ScopeGuard guard(this, nullptr);
    scope_->Set("loop", Value(state));
    Assign(*loop.target, state->current());
    const Flow flow = Run(loop.body);
    if (flow == Flow::kBreak) break;
    completed |= flow == Flow::kNext;
  }
  state->Finish();
  if (completed || loop.orelse.empty()) return Flow::kNext;
  const ScopeGuard guard(this, nullptr);
  return Run(loop.orelse);
}

void Interpreter::Assign(const Expression& target, const Value& value) {
  if (target.kind == Expression::Kind::kName) {
    scope_->Set(target.name, value);
    return;
  }
  if (target.kind == Expression::Kind::kNamespaceItem) {
    const Value holder = Lookup(target.name);
    const auto* space = holder.As<std::shared_ptr<Namespace>>();
    if (space == nullptr)
      Fail("'" + target.name + "' is not a namespace, so nothing in it can be set.");
    (*space)->Set(target.member, value);
    return;
  }
  const std::vector<Value> items = Iterate(this, value);
  if (items.size() != target.operands.size()) {
    Fail("Expected " + std::to_string(target.operands.size()) + " values to unpack, got " +
         std::to_string(items.size()) + ".");
  }
  for (size_t i = 0; i < items.size(); ++i) Assign(*target.operands[i], items[i]);
}

Value Interpreter::MakeMacro(const Statement& macro) {
  if (captured_scopes_.size() >= kMaxTracked) Fail("The template makes more than 100000 macros.");
  captured_scopes_.push_back(scope_);
  const std::weak_ptr<Scope> closure = scope_;  // kept alive by captured_scopes_
  return MakeFunction(macro.name, [&macro, closure](Interpreter* self, const Arguments& arguments) {
    return self->CallMacro(macro, closure.lock(), arguments);
  });
}

Value Interpreter::CallMacro(const Statement& macro, const std::shared_ptr<Scope>& closure,
                             const Arguments& arguments) {
  const std::string name = macro.name.empty() ? "caller" : macro.name;
  const size_t count = macro.parameters.size();
  std::vector<const Value*> given(count, nullptr);
  std::vector<Value> varargs;
  std::vector<Dict::Entry> kwargs;
  const Value* caller = nullptr;
  for (size_t i = 0; i < arguments.positional.size(); ++i) {
    if (i < count) {
      given[i] = &arguments.positional[i];
    } else if (macro.uses_varargs) {
      varargs.push_back(arguments.positional[i]);
    } else {
      Fail("The macro '" + name + "' takes at most " + std::to_string(count) + " arguments.");
    }
  }
  for (const auto& [key, value] : arguments.keywords) {
    size_t index = 0;
    while (index < count && macro.parameters[index].name != key) ++index;
    if (index < count) {
      if (given[index] != nullptr) Fail("The macro '" + name + "' got '" + key + "' twice.");
      given[index] = &value;
    } else if (key == "caller" && macro.uses_caller) {
      caller = &value;
    } else if (macro.uses_kwargs) {
      kwargs.emplace_back(Value(key), value);
    } else {
      Fail("The macro '" + name + "' has no argument named '" + key + "'.");
    }
  }
  const int call_line = line_;
  const ScopeGuard guard(this, closure);
  for (size_t i = 0; i < count; ++i) {
    const Parameter& parameter = macro.parameters[i];
    if (given[i] != nullptr) {
      scope_->Set(parameter.name, *given[i]);
    } else if (parameter.default_value != nullptr) {
      scope_->Set(parameter.name, Evaluate(*parameter.default_value));
    } else {
      scope_->Set(parameter.name, Value::MakeUndefined("The parameter '" + parameter.name +
                                                       "' of a macro was not given."));
    }
  }
  if (macro.uses_varargs) scope_->Set("varargs", Value::MakeTuple(std::move(varargs)));
  if (macro.uses_kwargs) scope_->Set("kwargs", MakeDict(std::move(kwargs)));
  if (macro.uses_caller) {
    scope_->Set("caller", caller != nullptr
                              ? *caller
                              : Value::MakeUndefined("The macro was called without a call block."));
  }
  Flow flow;
  Value result = MakeText(Capture(macro.body, &flow));
  line_ = call_line;
  return result;
}

}  // namespace tessera::chat
