// What a request asks of the form of its answer.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "grammar/automaton.h"
#include "grammar/json_schema.h"
#include "tessera/result.h"

namespace tessera {

// A function that an answer may call, for the forms that calls have.
struct CallableFunction {
  std::string name;
  grammar::Json parameters;  // a JSON schema; null: any object
};

enum class CallForm : uint8_t {
  kArguments,  // the arguments of the one function, and nothing else
  kHermes,     // <tool_call>\n{"name": ..., "arguments": ...}\n</tool_call>
  kLlama,      // {"name": ..., "parameters": ...}
};

struct ConstraintSpec {
  enum class Kind : uint8_t { kNone, kJsonObject, kJsonSchema, kRegex, kChoice, kCalls };

  Kind kind = Kind::kNone;
  std::string field;                        // of the request, for messages; not in the key
  grammar::Json schema;                     // kJsonSchema
  std::string pattern;                      // kRegex: matches the whole answer
  std::vector<std::string> choices;         // kChoice
  std::vector<CallableFunction> functions;  // kCalls: one of these is called
  CallForm form = CallForm::kHermes;
  bool several_calls = false;  // with kHermes: one or more calls

  // Different for different constraints.
  std::string Key() const;
};

// Messages are whole sentences.
Result<std::unique_ptr<grammar::Automaton>> CompileConstraint(const ConstraintSpec& spec);

}  // namespace tessera
