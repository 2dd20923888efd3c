// The methods of Python's str.
#include <algorithm>
#include <map>

#include "text/chat/error.h"
#include "text/chat/format.h"
#include "text/chat/interpreter.h"
#include "text/chat/text.h"

namespace tessera::chat {
namespace {

using Method = Value (*)(Interpreter*, const Value& self, const Arguments&);

Value Plain(std::string_view text) { return Value(std::string(text)); }

template <bool kLeft, bool kRight>
Value StripMethod(Interpreter*, const Value& self, const Arguments& arguments) {
  const BoundArguments bound("strip", arguments, {"chars"});
  if (bound[0] == nullptr || bound[0]->IsNone()) {
    return Plain(Strip(self.text(), nullptr, kLeft, kRight));
  }
  const std::string chars = bound.Text(0, "");
  const std::string_view view = chars;
  return Plain(Strip(self.text(), &view, kLeft, kRight));
}

std::vector<std::string> SplitAtSpace(std::string_view text, int64_t max, bool from_right) {
  std::vector<std::string> parts;
  while (true) {
    text = Strip(text, nullptr, !from_right, from_right);
    if (text.empty()) break;
    if (max >= 0 && static_cast<int64_t>(parts.size()) == max) {
      parts.emplace_back(text);
      break;
    }
    size_t first = std::string_view::npos;
    size_t last = std::string_view::npos;
    for (size_t at = 0; at < text.size();) {
      const size_t start = at;
      if (!IsSpace(NextCodePoint(text, &at))) continue;
      if (first == std::string_view::npos) first = start;
      last = at;
    }
    if (from_right) {
      const size_t begin = last == std::string_view::npos ? 0 : last;
      parts.emplace_back(text.substr(begin));
      text = text.substr(0, begin);
    } else {
      parts.emplace_back(text.substr(0, first));
      text = first == std::string_view::npos ? std::string_view() : text.substr(first);
    }
  }
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

template <bool kFromRight>
Value SplitMethod(Interpreter* interpreter, const Value& self, const Arguments& arguments) {
  const BoundArguments bound("split", arguments, {"sep", "maxsplit"});
  const int64_t max = bound.Integer(1, -1);
  std::vector<std::string> parts;
  std::string_view text = self.text();
  if (bound[0] == nullptr || bound[0]->IsNone()) {
    parts = SplitAtSpace(text, max, kFromRight);
  } else {
    const std::string separator = bound.Text(0, "");
    if (separator.empty()) Fail("split() needs a separator that is not empty.");
    while (max < 0 || static_cast<int64_t>(parts.size()) < max) {
      const size_t found = kFromRight ? text.rfind(separator) : text.find(separator);
      if (found == std::string_view::npos) break;
      if (kFromRight) {
        parts.emplace_back(text.substr(found + separator.size()));
        text = text.substr(0, found);
      } else {
        parts.emplace_back(text.substr(0, found));
        text = text.substr(found + separator.size());
      }
    }
    parts.emplace_back(text);
    if (kFromRight) std::reverse(parts.begin(), parts.end());
  }
  std::vector<Value> items;
  for (std::string& part : parts) items.push_back(interpreter->MakeText(std::move(part)));
  interpreter->Charge(static_cast<int64_t>(items.size()), static_cast<int64_t>(items.size()) * 96);
  return Value::MakeList(std::move(items));
}

// The part of the text between two code point indices, as Python's start and end arguments.
std::string_view Window(const std::string& text, const BoundArguments& bound, int64_t* start) {
  const int64_t size = CodePointCount(text);
  const auto place = [&](int64_t value) {
    return std::clamp<int64_t>(value < 0 ? value + size : value, 0, size);
  };
  *start = bound[1] == nullptr || bound[1]->IsNone() ? 0 : bound.Integer(1, 0);
  const int64_t end = bound[2] == nullptr || bound[2]->IsNone() ? size : place(bound.Integer(2, 0));
  const bool beyond = *start > size;
  *start = place(*start);
  if (beyond || *start > end) {
    *start = -1;
    return {};
  }
  size_t at = 0;
  for (int64_t i = 0; i < *start; ++i) NextCodePoint(text, &at);
  const size_t from = at;
  for (int64_t i = *start; i < end; ++i) NextCodePoint(text, &at);
  return std::string_view(text).substr(from, at - from);
}

template <bool kStart>
Value AffixMethod(Interpreter*, const Value& self, const Arguments& arguments) {
  const BoundArguments bound(kStart ? "startswith" : "endswith", arguments,
                             {"prefix", "start", "end"}, 1);
  int64_t start = 0;
  const std::string_view text = Window(self.text(), bound, &start);
  const auto matches = [&](const Value& affix) {
    if (!affix.IsText()) Fail("startswith() and endswith() need strings.");
    if (start < 0) return false;
    return kStart ? text.starts_with(affix.text()) : text.ends_with(affix.text());
  };
  const Sequence* several = bound[0]->sequence();
  if (several == nullptr || several->kind != Sequence::Kind::kTuple) {
    return Value(matches(*bound[0]));
  }
  return Value(std::any_of(several->items.begin(), several->items.end(), matches));
}

template <bool kLast, bool kMustExist>
Value FindMethod(Interpreter*, const Value& self, const Arguments& arguments) {
  const BoundArguments bound("find", arguments, {"sub", "start", "end"}, 1);
  const std::string wanted = bound.Text(0, "");
  int64_t start = 0;
  const std::string_view text = Window(self.text(), bound, &start);
  const size_t found = start < 0 ? std::string_view::npos
                       : kLast   ? text.rfind(wanted)
                                 : text.find(wanted);
  if (found != std::string_view::npos) return Value(start + CodePointCount(text.substr(0, found)));
  if (kMustExist) Fail("index() did not find the text.");
  return Value(int64_t{-1});
}

Value CountMethod(Interpreter*, const Value& self, const Arguments& arguments) {
  const BoundArguments bound("count", arguments, {"sub", "start", "end"}, 1);
  const std::string wanted = bound.Text(0, "");
  int64_t start = 0;
  const std::string_view text = Window(self.text(), bound, &start);
  if (start < 0) return Value(int64_t{0});
  if (wanted.empty()) return Value(CodePointCount(text) + 1);
  int64_t count = 0;
  for (size_t at = 0; (at = text.find(wanted, at)) != std::string_view::npos; at += wanted.size()) {
    ++count;
  }
  return Value(count);
}

Value ReplaceMethod(Interpreter* interpreter, const Value& self, const Arguments& arguments) {
  const BoundArguments bound("replace", arguments, {"old", "new", "count"}, 2);
  return interpreter->MakeText(
      ReplaceAll(self.text(), bound.Text(0, ""), bound.Text(1, ""), bound.Integer(2, -1)));
}

Value JoinMethod(Interpreter* interpreter, const Value& self, const Arguments& arguments) {
  const BoundArguments bound("join", arguments, {"iterable"}, 1);
  std::string out;
  bool first = true;
  for (const Value& item : Iterate(interpreter, *bound[0])) {
    if (!item.IsText()) Fail("join() needs strings, got a value of type " + item.TypeName() + ".");
    if (!first) out += self.text();
    first = false;
    out += item.text();
    if (out.size() > kMaxTextBytes) Fail("A text grows beyond 64 MiB.");
  }
  return interpreter->MakeText(std::move(out));
}

template <std::string (*kConvert)(std::string_view)>
Value ConvertMethod(Interpreter* interpreter, const Value& self, const Arguments& arguments) {
  const BoundArguments bound("This method", arguments, {});
  return interpreter->MakeText(kConvert(self.text()), self.IsSafeText());
}

template <bool (*kMember)(char32_t)>
Value AllMethod(Interpreter*, const Value& self, const Arguments&) {
  const std::u32string text = Decode(self.text());
  return Value(!text.empty() && std::all_of(text.begin(), text.end(), kMember));
}

// All cased characters have one case, and there is one.
template <bool (*kMember)(char32_t), bool (*kOther)(char32_t)>
Value CaseMethod(Interpreter*, const Value& self, const Arguments&) {
  const std::u32string text = Decode(self.text());
  return Value(std::any_of(text.begin(), text.end(), kMember) &&
               std::none_of(text.begin(), text.end(), kOther));
}

bool IsAlphaNumeric(char32_t c) { return IsAlpha(c) || IsNumeric(c); }

Value SplitLinesMethod(Interpreter* interpreter, const Value& self, const Arguments& arguments) {
  const BoundArguments bound("splitlines", arguments, {"keepends"});
  std::vector<Value> lines;
  for (std::string& line : SplitLines(self.text(), bound.Flag(0, false))) {
    lines.push_back(interpreter->MakeText(std::move(line)));
  }
  interpreter->Charge(static_cast<int64_t>(lines.size()), static_cast<int64_t>(lines.size()) * 96);
  return Value::MakeList(std::move(lines));
}

Value FormatMethod(Interpreter* interpreter, const Value& self, const Arguments& arguments) {
  return interpreter->MakeText(BraceFormat(self.text(), arguments));
}

template <bool kPrefix>
Value RemoveMethod(Interpreter*, const Value& self, const Arguments& arguments) {
  const BoundArguments bound("removeprefix", arguments, {"affix"}, 1);
  const std::string affix = bound.Text(0, "");
  std::string_view text = self.text();
  if (kPrefix && text.starts_with(affix)) text.remove_prefix(affix.size());
  if (!kPrefix && text.ends_with(affix)) text.remove_suffix(affix.size());
  return Plain(text);
}

template <bool kLast>
Value PartitionMethod(Interpreter*, const Value& self, const Arguments& arguments) {
  const BoundArguments bound("partition", arguments, {"sep"}, 1);
  const std::string separator = bound.Text(0, "");
  if (separator.empty()) Fail("partition() needs a separator that is not empty.");
  const std::string& text = self.text();
  const size_t found = kLast ? text.rfind(separator) : text.find(separator);
  if (found == std::string::npos) {
    return kLast ? Value::MakeTuple({Plain(""), Plain(""), Plain(text)})
                 : Value::MakeTuple({Plain(text), Plain(""), Plain("")});
  }
  return Value::MakeTuple({Plain(text.substr(0, found)), Plain(separator),
                           Plain(text.substr(found + separator.size()))});
}

}  // namespace

std::optional<Value> FindTextMethod(const Value& object, const std::string& name) {
  static const auto* const kMethods = new std::map<std::string, Method>{
      {"strip", StripMethod<true, true>},
      {"lstrip", StripMethod<true, false>},
      {"rstrip", StripMethod<false, true>},
      {"split", SplitMethod<false>},
      {"rsplit", SplitMethod<true>},
      {"splitlines", SplitLinesMethod},
      {"startswith", AffixMethod<true>},
      {"endswith", AffixMethod<false>},
      {"find", FindMethod<false, false>},
      {"rfind", FindMethod<true, false>},
      {"index", FindMethod<false, true>},
      {"rindex", FindMethod<true, true>},
      {"count", CountMethod},
      {"replace", ReplaceMethod},
      {"join", JoinMethod},
      {"upper", ConvertMethod<ToUpper>},
      {"lower", ConvertMethod<ToLower>},
      {"title", ConvertMethod<TitleCase>},
      {"capitalize", ConvertMethod<Capitalize>},
      {"isdigit", AllMethod<IsDigit>},
      {"isdecimal", AllMethod<IsDecimal>},
      {"isnumeric", AllMethod<IsNumeric>},
      {"isalpha", AllMethod<IsAlpha>},
      {"isalnum", AllMethod<IsAlphaNumeric>},
      {"isspace", AllMethod<IsSpace>},
      {"islower", CaseMethod<IsLowerCase, IsUpperCase>},
      {"isupper", CaseMethod<IsUpperCase, IsLowerCase>},
      {"format", FormatMethod},
      {"removeprefix", RemoveMethod<true>},
      {"removesuffix", RemoveMethod<false>},
      {"partition", PartitionMethod<false>},
      {"rpartition", PartitionMethod<true>},
  };
  const auto found = kMethods->find(name);
  if (found == kMethods->end()) return std::nullopt;
  return MakeFunction(
      name, [object, method = found->second](Interpreter* interpreter, const Arguments& arguments) {
        interpreter->Charge(static_cast<int64_t>(object.text().size() / 16));
        return method(interpreter, object, arguments);
      });
}

}  // namespace tessera::chat
