// An answer's text, told apart into content and calls of tools, as it comes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/protocol/tool_options.h"

namespace tessera {

// A call, or a further part of one: parts of the same call have its index.
struct ToolCallPart {
  int32_t index = 0;
  bool begins = false;
  std::string name;       // where it begins
  std::string arguments;  // to be added to those before
};

struct ParsedAnswer {
  std::string content;
  std::vector<ToolCallPart> calls;
};

// Of one answer. Not thread-safe.
//
// Where a function was named, the text is its arguments, told as they come. Otherwise calls are
// found in the two forms that most models were taught, and told when they are complete: between
// <tool_call> and </tool_call> (Hermes, Qwen), or an answer that is a JSON object with a known name
// and parameters (Llama 3), several separated by ';' or in a list. What looks like a call and is
// none is content.
class ToolCallParser {
 public:
  // `options` outlives this.
  explicit ToolCallParser(const ToolOptions& options);

  ParsedAnswer Append(std::string_view text);
  // The text has ended.
  ParsedAnswer Finish();

  bool has_calls() const { return num_calls_ > 0; }

 private:
  enum class State : uint8_t {
    kContent,    // no calls are looked for
    kArguments,  // of the named function
    kStart,      // nothing but white space so far
    kText,       // content, until a <tool_call>
    kCall,       // behind a <tool_call>
    kBetween,    // behind a </tool_call>
    kJson,       // an answer that may be a call as a whole
  };

  bool Step(ParsedAnswer* out);
  bool StepText(ParsedAnswer* out);
  bool StepCall(ParsedAnswer* out);
  bool AddCall(const Json& call, bool must_be_known, ParsedAnswer* out);
  bool AddCallText(std::string_view text, ParsedAnswer* out);
  bool AddJsonCalls(ParsedAnswer* out);

  const ToolOptions& options_;
  State state_;
  std::string pending_;
  int32_t num_calls_ = 0;
};

}  // namespace tessera
