// An answer's text, divided into content and calls of tools, as it comes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/protocol/call_object.h"
#include "server/protocol/tool_options.h"

namespace tessera {

// The begin of a call, without arguments, or a further part of its arguments.
struct ToolCallPart {
  int32_t index = 0;  // of the call in its answer, counted from 0
  bool begins = false;
  std::string name;       // where it begins
  std::string arguments;  // to be added to those before; whole UTF-8 characters
};

struct ParsedAnswer {
  std::string content;  // whole UTF-8 characters
  std::vector<ToolCallPart> calls;
};

// Of one answer. What is found does not depend on the pieces in which the text comes. Constant work
// for each byte. Not thread-safe.
//
// If a function was named, the text is its arguments. Otherwise calls are found in the two forms
// that most models were taught: between <tool_call> and </tool_call> (Hermes, Qwen), or an answer
// that begins with a JSON object with a known name (Llama 3), several separated by ';', ',' or
// white space, or in a list. Text is held back while it may turn out to be a call, and is content
// if it does not; once a call is certain (see CallObject) its arguments are given as they come.
// If its object breaks off or is cut off after that, the call stays, with the arguments up to
// there, and what follows is content. White space around calls is neither, nor are the marks.
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
    kText,       // content, until a mark
    kMark,       // in what may be a mark
    kBefore,     // where the object of a call must follow
    kCall,       // in the object of a call
    kAfter,      // after a call
  };
  enum class Form : uint8_t { kHermes, kLlama };

  void TakeAll(std::string_view text, ParsedAnswer* out);
  bool Take(char c, ParsedAnswer* out);
  bool TakeAtStart(char c, ParsedAnswer* out);
  bool TakeOfMark(char c, ParsedAnswer* out);
  bool TakeOfCall(char c, ParsedAnswer* out);
  bool TakeAfter(char c);
  bool Hold(char c);
  void BeginObject(Form form);
  bool BecomeContent(ParsedAnswer* out);
  void BeginCall(const std::string& name, ParsedAnswer* out);
  void AddArguments(std::string_view arguments, ParsedAnswer* out) const;

  const ToolOptions* options_;
  State state_;
  Form form_ = Form::kHermes;  // of the call that comes, or came last
  std::string partial_;        // bytes of a character that is not complete
  std::string held_;           // what may be part of a call
  std::string mark_;           // what was read of a mark; also the end of held_
  CallObject call_;
  bool told_ = false;          // that call_ is one
  bool may_end_mark_ = false;  // after a call whose </tool_call> has not come
  bool in_list_ = false;       // after the '[' of a list of calls
  int32_t num_calls_ = 0;
};

}  // namespace tessera
