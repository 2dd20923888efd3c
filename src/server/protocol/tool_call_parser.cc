#include "server/protocol/tool_call_parser.h"

#include <algorithm>
#include <utility>

namespace tessera {
namespace {

constexpr std::string_view kBegin = "<tool_call>";
constexpr std::string_view kEnd = "</tool_call>";
constexpr std::string_view kSpaces = " \t\r\n";

// The bytes at the end of `text` that may be the beginning of `mark`.
size_t PartAtEnd(std::string_view text, std::string_view mark) {
  for (size_t length = std::min(text.size(), mark.size() - 1); length > 0; --length) {
    if (text.ends_with(mark.substr(0, length))) return length;
  }
  return 0;
}

// Where the JSON value that begins at `begin` ends: behind its closing bracket; npos: nowhere.
size_t EndOfValue(std::string_view text, size_t begin) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = begin; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (c == '}' || c == ']') {
      if (--depth == 0) return i + 1;
    }
  }
  return std::string_view::npos;
}

}  // namespace

ToolCallParser::ToolCallParser(const ToolOptions& options) : options_(options) {
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
  pending_ += text;
  while (Step(&out)) {
  }
  return out;
}

// Whether another step may find more.
bool ToolCallParser::Step(ParsedAnswer* out) {
  if (pending_.empty()) return false;
  switch (state_) {
    case State::kContent:
      out->content += std::exchange(pending_, "");
      return false;
    case State::kArguments: {
      const bool begins = num_calls_ == 0;
      num_calls_ = 1;
      out->calls.push_back({0, begins, begins ? options_.name : "", std::exchange(pending_, "")});
      return false;
    }
    case State::kStart: {
      const size_t first = pending_.find_first_not_of(kSpaces);
      if (first == std::string::npos) return false;
      // White space in front of a call is no content: it waits until the mark is complete.
      const std::string_view begun = std::string_view(pending_).substr(first);
      if (begun.size() < kBegin.size() && kBegin.starts_with(begun)) return false;
      state_ = pending_[first] == '{' || pending_[first] == '[' ? State::kJson : State::kText;
      return state_ == State::kText;
    }
    case State::kText:
      return StepText(out);
    case State::kCall:
      return StepCall(out);
    case State::kBetween: {
      pending_.erase(0, std::min(pending_.find_first_not_of(kSpaces), pending_.size()));
      if (pending_.empty()) return false;
      state_ = State::kText;
      return true;
    }
    case State::kJson:
      return false;
  }
  return false;
}

bool ToolCallParser::StepText(ParsedAnswer* out) {
  const size_t mark = pending_.find(kBegin);
  const size_t sure =
      mark == std::string::npos ? pending_.size() - PartAtEnd(pending_, kBegin) : mark;
  const std::string text = pending_.substr(0, sure);
  // White space in front of a call is no content.
  if (mark == std::string::npos || text.find_first_not_of(kSpaces) != std::string::npos) {
    out->content += text;
  }
  pending_.erase(0, sure);
  if (mark == std::string::npos) return false;
  pending_.erase(0, kBegin.size());
  state_ = State::kCall;
  return true;
}

// An end mark may also be part of an argument: the call ends with the first one that leaves JSON.
bool ToolCallParser::StepCall(ParsedAnswer* out) {
  const size_t begin = pending_.find_first_not_of(kSpaces);
  if (begin == std::string::npos) return false;
  const size_t value_end = pending_[begin] == '{' ? EndOfValue(pending_, begin) : std::string::npos;
  const size_t mark = pending_.find(kEnd, value_end == std::string::npos ? 0 : value_end);
  // Inside of an object that is not complete, a mark is part of a string.
  if (mark == std::string::npos || (pending_[begin] == '{' && value_end == std::string::npos)) {
    return false;
  }
  const std::string body = pending_.substr(0, mark);
  pending_.erase(0, mark + kEnd.size());
  state_ = State::kBetween;
  if (!AddCallText(body, out)) {
    out->content += std::string(kBegin) + body + std::string(kEnd);
    state_ = State::kText;
  }
  return true;
}

bool ToolCallParser::AddCallText(std::string_view text, ParsedAnswer* out) {
  Json call;
  if (ParseJsonObject(text, &call)) return false;
  return AddCall(call, /*must_be_known=*/false, out);
}

bool ToolCallParser::AddCall(const Json& call, bool must_be_known, ParsedAnswer* out) {
  if (!call.is_object() || !call.contains("name") || !call["name"].is_string()) return false;
  const std::string name = call["name"].get<std::string>();
  if (must_be_known && !options_.Knows(name)) return false;
  std::string arguments = "{}";
  for (const char* key : {"arguments", "parameters"}) {
    if (!call.contains(key)) continue;
    const Json& value = call[key];
    if (value.is_object()) {
      arguments = Dump(value);
    } else if (value.is_string()) {
      arguments = value.get<std::string>();
    } else {
      return false;
    }
  }
  out->calls.push_back({num_calls_++, true, name, std::move(arguments)});
  return true;
}

// The whole answer is a call, or several: all of them, or none.
bool ToolCallParser::AddJsonCalls(ParsedAnswer* out) {
  const int32_t calls_before = num_calls_;
  ParsedAnswer found;
  const auto none = [&] {
    num_calls_ = calls_before;
    return false;
  };
  size_t position = pending_.find_first_not_of(kSpaces);
  while (position != std::string::npos && position < pending_.size()) {
    const size_t end = EndOfValue(pending_, position);
    if (end == std::string::npos) return none();
    // In an object, as that is what the parser reads.
    Json wrapped;
    if (ParseJsonObject("{\"call\":" + pending_.substr(position, end - position) + "}", &wrapped)) {
      return none();
    }
    const Json& value = wrapped["call"];
    const Json list = value.is_array() ? value : Json::array({value});
    for (const Json& call : list) {
      if (!AddCall(call, /*must_be_known=*/true, &found)) return none();
    }
    position = pending_.find_first_not_of(std::string(kSpaces) + ";,", end);
    if (position != std::string::npos && pending_[position] != '{') return none();
  }
  if (found.calls.empty()) return none();
  std::move(found.calls.begin(), found.calls.end(), std::back_inserter(out->calls));
  return true;
}

ParsedAnswer ToolCallParser::Finish() {
  ParsedAnswer out;
  if (state_ == State::kCall) {
    // Some models end their answer in place of the mark.
    if (!AddCallText(pending_, &out)) out.content = std::string(kBegin) + pending_;
  } else if (state_ != State::kJson || !AddJsonCalls(&out)) {
    if (state_ != State::kBetween) out.content = pending_;
  }
  pending_.clear();
  return out;
}

}  // namespace tessera
