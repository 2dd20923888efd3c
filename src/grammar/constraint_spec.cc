#include "grammar/constraint_spec.h"

#include <utility>

#include "grammar/code_points.h"
#include "grammar/regex.h"

namespace tessera {
namespace {

using grammar::ExpressionPool;
using grammar::ExprId;
using grammar::Json;

std::string Text(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<ExprId> ArgumentsOf(const CallableFunction& function, ExpressionPool* pool) {
  if (function.parameters.is_null()) return grammar::AddJsonObject(pool);
  // Arguments are an object, also if the schema does not say so.
  Json schema = function.parameters;
  if (schema.is_object()) schema["type"] = "object";
  return grammar::AddJsonSchema(schema, pool);
}

Result<ExprId> CallOf(const CallableFunction& function, CallForm form, ExpressionPool* pool) {
  auto arguments = ArgumentsOf(function, pool);
  if (!arguments.ok()) {
    return Error{arguments.error().code, "The parameters of the function " + function.name +
                                             " are refused: " + arguments.error().message};
  }
  if (form == CallForm::kArguments) return *arguments;
  const std::string name = Text(Json(function.name));
  if (form == CallForm::kLlama) {
    return pool->Sequence({pool->Literal("{\"name\": " + name + ", \"parameters\": "), *arguments,
                           pool->Literal("}")});
  }
  return pool->Sequence({pool->Literal("<tool_call>\n{\"name\": " + name + ", \"arguments\": "),
                         *arguments, pool->Literal("}\n</tool_call>")});
}

Result<ExprId> CallsOf(const ConstraintSpec& spec, ExpressionPool* pool) {
  std::vector<ExprId> calls;
  for (const CallableFunction& function : spec.functions) {
    TESSERA_ASSIGN_OR_RETURN(const ExprId call, CallOf(function, spec.form, pool));
    calls.push_back(call);
  }
  const ExprId call = pool->Alternatives(std::move(calls));
  if (spec.form != CallForm::kHermes || !spec.several_calls) return call;
  const ExprId more = pool->Repeat(pool->Concat(pool->Literal("\n"), call), 0, grammar::kUnbounded);
  return pool->Concat(call, more);
}

Result<ExprId> ExpressionOf(const ConstraintSpec& spec, ExpressionPool* pool) {
  switch (spec.kind) {
    case ConstraintSpec::Kind::kNone:
      break;
    case ConstraintSpec::Kind::kJsonObject:
      return grammar::AddJsonObject(pool);
    case ConstraintSpec::Kind::kJsonSchema:
      return grammar::AddJsonSchema(spec.schema, pool);
    case ConstraintSpec::Kind::kRegex: {
      auto pattern = grammar::ParseRegex(spec.pattern, grammar::RegexMatch::kWhole,
                                         grammar::TextForm::kPlain, pool);
      if (pattern.ok()) return *pattern;
      return Error{pattern.error().code, "The regular expression " + pattern.error().message};
    }
    case ConstraintSpec::Kind::kChoice:
      return pool->OneOfTexts(spec.choices);
    case ConstraintSpec::Kind::kCalls:
      return CallsOf(spec, pool);
  }
  return Internal("There is no constraint to compile.");
}

}  // namespace

std::string ConstraintSpec::Key() const {
  Json key = {static_cast<int>(kind), schema,       pattern, choices,
              static_cast<int>(form), several_calls};
  for (const CallableFunction& function : functions) {
    key.push_back(function.name);
    key.push_back(function.parameters);
  }
  return Text(key);
}

Result<std::unique_ptr<grammar::Automaton>> CompileConstraint(const ConstraintSpec& spec) {
  auto pool = std::make_unique<ExpressionPool>();
  TESSERA_ASSIGN_OR_RETURN(const ExprId root, ExpressionOf(spec, pool.get()));
  auto automaton = grammar::Automaton::Create(std::move(pool), root);
  if (automaton.ok()) return automaton;
  return Error{automaton.error().code,
               "The constraint of the answer cannot be used: " + automaton.error().message};
}

}  // namespace tessera
