#include "server/protocol/tool_call_parser.h"

#include <algorithm>
#include <utility>

namespace tessera {
namespace {

// Both have their '<' in front only, so that if one breaks off another may begin with that byte
// at the earliest.
constexpr std::string_view kBegin = "<tool_call>";
constexpr std::string_view kEnd = "</tool_call>";

// How many bytes at the end of `text` are the begin of a UTF-8 character that continues.
size_t IncompleteBytes(std::string_view text) {
  for (size_t length = 1; length <= std::min<size_t>(3, text.size()); ++length) {
    const auto byte = static_cast<unsigned char>(text[text.size() - length]);
    if ((byte & 0xc0) == 0x80) continue;
    const size_t needed = byte < 0xc2 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : byte < 0xf5 ? 4 : 1;
    return needed > length ? length : 0;
  }
  return 0;
}

}  // namespace

ToolCallParser::ToolCallParser(const ToolOptions& options) : options_(&options) {
  switch (options.choice) {
    case ToolChoice::kNone:
      state_ = State::kContent;
      break;
    case ToolChoice::kNamed:
      state_ = State::kArguments;
      break;
    default:
      state_ = State::kStart;
  }
}

ParsedAnswer ToolCallParser::Append(std::string_view text) {
  ParsedAnswer out;
  if (text.empty()) return out;
  std::string joined;
  if (!partial_.empty()) {
    joined = std::exchange(partial_, "").append(text);
    text = joined;
  }
  const size_t incomplete = IncompleteBytes(text);
  partial_ = text.substr(text.size() - incomplete);
  TakeAll(text.substr(0, text.size() - incomplete), &out);
  return out;
}

void ToolCallParser::TakeAll(std::string_view text, ParsedAnswer* out) {
  if (text.empty()) return;
  if (state_ == State::kContent) {
    out->content += text;
  } else if (state_ == State::kArguments) {
    if (num_calls_ == 0) BeginCall(options_->name, out);
    AddArguments(text, out);
  } else {
    for (const char c : text) {
      while (!Take(c, out)) {
      }
    }
  }
}

// Whether the byte was used up; otherwise the state has changed and it is to be taken again. It is
// used up after a few turns: kCall, kMark and kStart hand on to kAfter or kText, kAfter to kText,
// kMark or kCall, and these use up what they are handed.
bool ToolCallParser::Take(char c, ParsedAnswer* out) {
  switch (state_) {
    case State::kStart:
      return TakeAtStart(c, out);
    case State::kText:
      if (c == '<') return TakeOfMark(c, out);
      out->content += c;
      return true;
    case State::kMark:
      return TakeOfMark(c, out);
    case State::kBefore:
      if (IsJsonSpace(c)) return Hold(c);
      if (c != '{') return BecomeContent(out);
      BeginObject(form_);
      return false;
    case State::kCall:
      return TakeOfCall(c, out);
    case State::kAfter:
      return TakeAfter(c);
    case State::kContent:
    case State::kArguments:
      break;  // taken as a whole
  }
  return true;
}

bool ToolCallParser::TakeAtStart(char c, ParsedAnswer* out) {
  if (IsJsonSpace(c)) return Hold(c);
  if (c == '<') return TakeOfMark(c, out);
  if (c == '{') {
    BeginObject(Form::kLlama);
    return false;
  }
  if (c != '[') return BecomeContent(out);
  in_list_ = true;
  form_ = Form::kLlama;
  state_ = State::kBefore;
  return Hold(c);
}

bool ToolCallParser::TakeOfMark(char c, ParsedAnswer* out) {
  const std::string longer = mark_ + c;
  const bool may_end = may_end_mark_ && kEnd.starts_with(longer);
  if (!may_end && !kBegin.starts_with(longer)) return BecomeContent(out);
  mark_ = longer;
  Hold(c);
  state_ = State::kMark;
  if (mark_ == kEnd) {
    mark_.clear();
    held_.clear();
    may_end_mark_ = false;
    state_ = State::kAfter;
  } else if (mark_ == kBegin) {
    mark_.clear();
    form_ = Form::kHermes;
    state_ = State::kBefore;
  }
  return true;
}

bool ToolCallParser::TakeOfCall(char c, ParsedAnswer* out) {
  const CallObject::State object = call_.Take(c);
  if (object == CallObject::State::kBroken) {
    if (!told_) return BecomeContent(out);
    may_end_mark_ = form_ == Form::kHermes;
    state_ = State::kAfter;
    return false;
  }
  if (call_.certain()) {
    if (!told_) BeginCall(call_.name(), out);
    told_ = true;
    held_.clear();
    AddArguments(call_.TakeArguments(), out);
  } else {
    Hold(c);
  }
  if (object == CallObject::State::kClosed) {
    may_end_mark_ = form_ == Form::kHermes;
    state_ = State::kAfter;
  }
  return true;
}

bool ToolCallParser::TakeAfter(char c) {
  if (IsJsonSpace(c)) return true;
  if (form_ == Form::kLlama) {
    if (c == '{') {
      BeginObject(Form::kLlama);
      return false;
    }
    if (c == ']' && std::exchange(in_list_, false)) return true;
    if (c == ',' || c == ';') {
      state_ = State::kBefore;
      return Hold(c);
    }
  }
  may_end_mark_ = may_end_mark_ && c == '<';
  state_ = State::kText;
  return false;
}

bool ToolCallParser::Hold(char c) {
  held_ += c;
  return true;
}

void ToolCallParser::BeginObject(Form form) {
  form_ = form;
  call_ = CallObject(form == Form::kLlama ? options_ : nullptr);
  told_ = false;
  state_ = State::kCall;
}

// What was held back, and then the byte at hand, is no call.
bool ToolCallParser::BecomeContent(ParsedAnswer* out) {
  out->content += std::exchange(held_, "");
  mark_.clear();
  may_end_mark_ = false;
  state_ = State::kText;
  return false;
}

void ToolCallParser::BeginCall(const std::string& name, ParsedAnswer* out) {
  out->calls.push_back({num_calls_++, true, name, ""});
}

void ToolCallParser::AddArguments(std::string_view arguments, ParsedAnswer* out) const {
  if (arguments.empty()) return;
  if (out->calls.empty() || out->calls.back().begins) {
    out->calls.push_back({num_calls_ - 1, false, "", ""});
  }
  out->calls.back().arguments += arguments;
}

ParsedAnswer ToolCallParser::Finish() {
  ParsedAnswer out;
  TakeAll(std::exchange(partial_, ""), &out);
  const bool is_end_mark = state_ == State::kMark && may_end_mark_ && kEnd.starts_with(mark_);
  const bool is_separator = state_ == State::kBefore && form_ == Form::kLlama && has_calls();
  if (!is_end_mark && !is_separator) out.content += held_;
  held_.clear();
  return out;
}

}  // namespace tessera
