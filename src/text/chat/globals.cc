// The functions a template can call by name: Jinja's own and those transformers adds.
#include "text/chat/error.h"
#include "text/chat/format.h"
#include "text/chat/interpreter.h"

namespace tessera::chat {
namespace {

constexpr int64_t kMaxRange = 100'000;  // as in Jinja's sandbox

Value Range(Interpreter* interpreter, const Arguments& arguments) {
  const BoundArguments bound("range", arguments, {"start", "stop", "step"}, 1);
  const int64_t start = bound[1] == nullptr ? 0 : bound.Integer(0, 0);
  const int64_t stop = bound[1] == nullptr ? bound.Integer(0, 0) : bound.Integer(1, 0);
  const int64_t step = bound.Integer(2, 1);
  if (step == 0) Fail("The step of range() must not be 0.");
  std::vector<Value> items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<int64_t>(items.size()) == kMaxRange) {
      Fail("range() is limited to 100000 items.");
    }
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  const auto size = static_cast<int64_t>(items.size());
  interpreter->Charge(size / 4, size * static_cast<int64_t>(sizeof(Value)));
  Value range = MakeSequence(Sequence::Kind::kRange, std::move(items));
  range.sequence()->start = start;
  range.sequence()->stop = stop;
  range.sequence()->step = step;
  return range;
}

// Entries of an optional dict (or pairs), then the keyword arguments.
std::vector<Dict::Entry> Entries(Interpreter* interpreter, const Arguments& arguments) {
  if (arguments.positional.size() > 1) Fail("dict() and namespace() take at most one value.");
  std::vector<Dict::Entry> entries;
  for (const Value& source : arguments.positional) {
    if (source.dict() != nullptr) {
      entries = source.dict()->entries();
      continue;
    }
    for (const Value& pair : Iterate(interpreter, source)) {
      const std::vector<Value> parts = Iterate(interpreter, pair);
      if (parts.size() != 2) Fail("dict() needs pairs of a key and a value.");
      entries.emplace_back(parts[0], parts[1]);
    }
  }
  for (const auto& [name, value] : arguments.keywords) entries.emplace_back(Value(name), value);
  return entries;
}

Value MakeDictFunction(Interpreter* interpreter, const Arguments& arguments) {
  return MakeDict(Entries(interpreter, arguments));
}

Value MakeNamespaceFunction(Interpreter* interpreter, const Arguments& arguments) {
  const std::shared_ptr<Namespace> space = interpreter->MakeNamespace();
  for (auto& [key, value] : Entries(interpreter, arguments)) space->Set(ToText(key), value);
  return Value(space);
}

Value RaiseException(Interpreter*, const Arguments& arguments) {
  const BoundArguments bound("raise_exception", arguments, {"message"}, 1);
  Fail("The template refuses the input: " + ToText(*bound[0]));
}

Value StrftimeNow(Interpreter* interpreter, const Arguments& arguments) {
  const BoundArguments bound("strftime_now", arguments, {"format"}, 1);
  const std::string format = bound.Text(0, "");
  if (format.size() > 1000) Fail("The format of strftime_now() is too long.");
  if (format.empty()) return Value(std::string());
  char buffer[16384];
  // A last character that is always written tells an empty result from one that does not fit.
  const size_t size =
      std::strftime(buffer, sizeof(buffer), (format + "|").c_str(), &interpreter->now());
  if (size == 0) Fail("The result of strftime_now() is too long.");
  return interpreter->MakeText(std::string(buffer, size - 1));
}

struct Entry {
  const char* name;
  Value (*function)(Interpreter*, const Arguments&);
};

constexpr Entry kGlobals[] = {
    {"range", Range},
    {"dict", MakeDictFunction},
    {"namespace", MakeNamespaceFunction},
    {"raise_exception", RaiseException},
    {"strftime_now", StrftimeNow},
};

}  // namespace

std::optional<Value> FindGlobal(const std::string& name) {
  for (const Entry& entry : kGlobals) {
    if (entry.name == name) return MakeFunction(name, entry.function);
  }
  return std::nullopt;
}

}  // namespace tessera::chat
