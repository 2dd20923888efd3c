// object.name, object[index] and slices, with the lookups of Jinja's immutable sandbox: what does
// not exist, and what would change a value, is undefined.
#include <algorithm>

#include "text/chat/error.h"
#include "text/chat/interpreter.h"
#include "text/chat/loop.h"
#include "text/chat/text.h"

namespace tessera::chat {
namespace {

Value Missing(const Value& object, const std::string& name) {
  return Value::MakeUndefined("A value of type " + object.TypeName() + " has no '" + name + "'.");
}

void RequireDefined(const Value& object) {
  if (const Undefined* undefined = object.As<Undefined>()) Fail(*undefined->why);
}

std::optional<Value> FindElement(const Value& object, const Value& index) {
  if (const Dict* dict = object.dict()) {
    const Value* found = dict->Find(index);
    return found == nullptr ? std::nullopt : std::optional<Value>(*found);
  }
  if (!index.IsInteger()) return std::nullopt;
  int64_t position = index.integer();
  if (const Sequence* items = object.sequence(); items != nullptr && items->IsIndexable()) {
    const auto size = static_cast<int64_t>(items->items.size());
    if (position < 0) position += size;
    if (position < 0 || position >= size) return std::nullopt;
    return items->items[static_cast<size_t>(position)];
  }
  if (!object.IsText()) return std::nullopt;
  const std::string& text = object.text();
  if (position < 0) position += CodePointCount(text);
  if (position < 0) return std::nullopt;
  for (size_t at = 0; at < text.size(); --position) {
    const size_t start = at;
    NextCodePoint(text, &at);
    if (position == 0) return Value(text.substr(start, at - start), object.IsSafeText());
  }
  return std::nullopt;
}

// The bounds that Python's slice.indices() gives.
struct Bounds {
  int64_t start, stop, step, count;
};

Bounds SliceBounds(const Value& start, const Value& stop, const Value& step, int64_t size) {
  const auto read = [](const Value& value, int64_t fallback) {
    if (value.IsNone()) return fallback;
    if (!value.IsInteger()) Fail("The bounds of a slice must be integers.");
    return value.integer();
  };
  Bounds bounds{};
  bounds.step = read(step, 1);
  if (bounds.step == 0) Fail("The step of a slice must not be 0.");
  // A longer step than the sequence selects one item, whichever its length.
  bounds.step = std::clamp(bounds.step, -size - 1, size + 1);
  const int64_t low = bounds.step < 0 ? -1 : 0;
  const int64_t high = bounds.step < 0 ? size - 1 : size;
  const auto place = [&](int64_t value) {
    return std::clamp(value < 0 ? value + size : value, low, high);
  };
  bounds.start = start.IsNone() ? (bounds.step < 0 ? high : low) : place(read(start, 0));
  bounds.stop = stop.IsNone() ? (bounds.step < 0 ? low : high) : place(read(stop, 0));
  const int64_t span = bounds.step > 0 ? bounds.stop - bounds.start : bounds.start - bounds.stop;
  const int64_t stride = bounds.step > 0 ? bounds.step : -bounds.step;
  bounds.count = span <= 0 ? 0 : (span + stride - 1) / stride;
  return bounds;
}

}  // namespace

Value GetAttribute(const Value& object, const std::string& name) {
  RequireDefined(object);
  // Python's own attributes exist on every value, and the sandbox hides them.
  if (name.starts_with("__")) return Missing(object, name);
  if (std::optional<Value> member = FindMember(object, name)) return *member;
  if (const Dict* dict = object.dict()) {
    if (const Value* found = dict->Find(std::string_view(name))) return *found;
  }
  return Missing(object, name);
}

Value GetItem(const Value& object, const Value& index) {
  RequireDefined(object);
  if (object.dict() != nullptr &&
      (index.dict() != nullptr ||
       (index.sequence() != nullptr && index.sequence()->kind != Sequence::Kind::kTuple))) {
    return Missing(object, index.TypeName());  // unhashable
  }
  if (std::optional<Value> element = FindElement(object, index)) return *element;
  if (!index.IsText()) return Missing(object, "such item");
  if (std::optional<Value> member = FindMember(object, index.text())) return *member;
  return Missing(object, index.text());
}

Value GetSlice(const Value& object, const Value& start, const Value& stop, const Value& step) {
  RequireDefined(object);
  if (object.IsText()) {
    const std::u32string text = Decode(object.text());
    const Bounds bounds = SliceBounds(start, stop, step, static_cast<int64_t>(text.size()));
    std::string out;
    for (int64_t i = 0; i < bounds.count; ++i) {
      AppendUtf8(text[static_cast<size_t>(bounds.start + i * bounds.step)], &out);
    }
    return Value(std::move(out), object.IsSafeText());
  }
  const Sequence* sequence = object.sequence();
  if (sequence == nullptr || !sequence->IsIndexable()) {
    Fail("A value of type " + object.TypeName() + " cannot be sliced.");
  }
  const Bounds bounds =
      SliceBounds(start, stop, step, static_cast<int64_t>(sequence->items.size()));
  std::vector<Value> items;
  items.reserve(static_cast<size_t>(bounds.count));
  for (int64_t i = 0; i < bounds.count; ++i) {
    items.push_back(sequence->items[static_cast<size_t>(bounds.start + i * bounds.step)]);
  }
  Value slice = MakeSequence(sequence->kind, std::move(items));
  if (sequence->kind == Sequence::Kind::kRange) {
    slice.sequence()->start = sequence->start + bounds.start * sequence->step;
    slice.sequence()->stop = sequence->start + bounds.stop * sequence->step;
    slice.sequence()->step = sequence->step * bounds.step;
  }
  return slice;
}

std::optional<Value> FindMember(const Value& object, const std::string& name) {
  using Kind = Sequence::Kind;
  if (object.IsText()) return FindTextMethod(object, name);
  if (const auto* space = object.As<std::shared_ptr<Namespace>>()) {
    const Value* found = (*space)->Find(name);
    return found == nullptr ? std::nullopt : std::optional<Value>(*found);
  }
  if (const auto* loop = object.As<std::shared_ptr<LoopState>>()) {
    if (name == "cycle") {
      return MakeFunction(
          name,
          [state = *loop](Interpreter*, const Arguments& arguments) {
            if (arguments.positional.empty()) Fail("loop.cycle() needs values.");
            return arguments
                .positional[static_cast<size_t>(state->index0()) % arguments.positional.size()];
          },
          object.depth());
    }
    if (name == "changed") {
      return MakeFunction(
          name,
          [state = *loop](Interpreter*, const Arguments& arguments) {
            return Value(state->Changed(arguments.positional));
          },
          object.depth());
    }
    return (*loop)->Attribute(name);
  }
  if (object.dict() != nullptr) {
    if (name == "get") {
      return MakeFunction(
          name,
          [object](Interpreter*, const Arguments& arguments) {
            if (!arguments.keywords.empty()) Fail("get() takes no named arguments.");
            const BoundArguments bound("get", arguments, {"key", "default"}, 1);
            if (const Value* found = object.dict()->Find(*bound[0])) return *found;
            return bound[1] == nullptr ? Value() : *bound[1];
          },
          object.depth());
    }
    if (name == "copy") {
      return MakeFunction(
          name, [object](Interpreter*, const Arguments&) { return object; }, object.depth());
    }
    if (name != "items" && name != "keys" && name != "values") return std::nullopt;
    return MakeFunction(
        name,
        [object, name](Interpreter* interpreter, const Arguments&) {
          std::vector<Value> items;
          for (const auto& [key, value] : object.dict()->entries()) {
            items.push_back(name == "keys"     ? key
                            : name == "values" ? value
                                               : Value::MakeTuple({key, value}));
          }
          const auto size = static_cast<int64_t>(items.size());
          interpreter->Charge(size, size * static_cast<int64_t>(sizeof(Value)));
          return MakeSequence(name == "keys"     ? Kind::kKeys
                              : name == "values" ? Kind::kValues
                                                 : Kind::kItems,
                              std::move(items));
        },
        object.depth());
  }
  const Sequence* sequence = object.sequence();
  if (sequence == nullptr || !sequence->IsIndexable()) return std::nullopt;
  if (name == "index" || name == "count") {
    return MakeFunction(
        name,
        [object, name](Interpreter* interpreter, const Arguments& arguments) {
          const BoundArguments bound(name, arguments, {"value"}, 1);
          const std::vector<Value>& items = object.sequence()->items;
          interpreter->Charge(object.weight());
          int64_t count = 0;
          for (size_t i = 0; i < items.size(); ++i) {
            if (!Equal(items[i], *bound[0])) continue;
            if (name == "index") return Value(static_cast<int64_t>(i));
            ++count;
          }
          if (name == "index") Fail("The value is not in the list.");
          return Value(count);
        },
        object.depth());
  }
  if (name == "copy" && sequence->kind == Kind::kList) {
    return MakeFunction(
        name, [object](Interpreter*, const Arguments&) { return object; }, object.depth());
  }
  return std::nullopt;
}

}  // namespace tessera::chat
