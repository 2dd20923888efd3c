#include <algorithm>

#include "text/chat/error.h"
#include "text/chat/filters.h"
#include "text/chat/format.h"
#include "text/chat/text.h"

namespace tessera::chat {
namespace {

Value MakeIterator(std::vector<Value> items) {
  return MakeSequence(Sequence::Kind::kIterator, std::move(items));
}

// item.a.b or item.0 for the attribute "a.b" or 0; undefined parts become `fallback` if given.
Value Pick(const Value& item, const Value* attribute, const Value* fallback = nullptr) {
  if (attribute == nullptr || attribute->IsNone()) return item;
  if (!attribute->IsText()) return GetItem(item, *attribute);
  Value current = item;
  const std::string& path = attribute->text();
  for (size_t start = 0; start <= path.size();) {
    const size_t end = std::min(path.find('.', start), path.size());
    const std::string part = path.substr(start, end - start);
    const bool is_number = !part.empty() && part.size() < 18 &&
                           part.find_first_not_of("0123456789") == std::string::npos;
    current =
        GetItem(current, is_number ? Value(static_cast<int64_t>(std::stoll(part))) : Value(part));
    if (current.IsUndefined() && fallback != nullptr && !fallback->IsNone()) current = *fallback;
    start = end + 1;
  }
  return current;
}

Value FoldCase(const Value& value, bool case_sensitive) {
  return case_sensitive || !value.IsText() ? value : Value(ToLower(value.text()));
}

using Keyed = std::pair<Value, Value>;  // the key to order by, the item

void SortByKey(Interpreter* interpreter, std::vector<Keyed>* items, bool reverse) {
  interpreter->Charge(static_cast<int64_t>(items->size()) * 16);
  // Python's reverse keeps equal items in their order.
  std::stable_sort(items->begin(), items->end(), [&](const Keyed& a, const Keyed& b) {
    return reverse ? Less(b.first, a.first) : Less(a.first, b.first);
  });
}

Value Sort(Interpreter* interpreter, const Value& value, const Arguments& arguments) {
  const BoundArguments bound("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  const bool case_sensitive = bound.Flag(1, false);
  std::vector<Value> attributes;
  if (bound[2] != nullptr && bound[2]->IsText()) {
    const std::string& names = bound[2]->text();
    for (size_t start = 0; start <= names.size();) {
      const size_t end = std::min(names.find(',', start), names.size());
      attributes.emplace_back(names.substr(start, end - start));
      start = end + 1;
    }
  } else {
    attributes.push_back(bound[2] == nullptr ? Value() : *bound[2]);
  }
  std::vector<Keyed> keyed;
  for (Value& item : Iterate(interpreter, value)) {
    std::vector<Value> key;
    for (const Value& attribute : attributes) {
      key.push_back(FoldCase(Pick(item, &attribute), case_sensitive));
    }
    keyed.emplace_back(Value::MakeList(std::move(key)), std::move(item));
  }
  SortByKey(interpreter, &keyed, bound.Flag(0, false));
  std::vector<Value> sorted;
  for (Keyed& entry : keyed) sorted.push_back(std::move(entry.second));
  return Value::MakeList(std::move(sorted));
}

Value DictSort(Interpreter* interpreter, const Value& value, const Arguments& arguments) {
  const BoundArguments bound("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  if (value.dict() == nullptr) Fail("dictsort needs a dict, got a " + value.TypeName() + ".");
  const std::string by = bound.Text(1, "key");
  if (by != "key" && by != "value") Fail("dictsort sorts by 'key' or by 'value'.");
  std::vector<Keyed> keyed;
  for (const auto& [key, item] : value.dict()->entries()) {
    keyed.emplace_back(FoldCase(by == "key" ? key : item, bound.Flag(0, false)),
                       Value::MakeTuple({key, item}));
  }
  SortByKey(interpreter, &keyed, bound.Flag(2, false));
  std::vector<Value> sorted;
  for (Keyed& entry : keyed) sorted.push_back(std::move(entry.second));
  return Value::MakeList(std::move(sorted));
}

Value Unique(Interpreter* interpreter, const Value& value, const Arguments& arguments) {
  const BoundArguments bound("unique", arguments, {"case_sensitive", "attribute"});
  std::vector<Dict::Entry> first_of_key;
  for (Value& item : Iterate(interpreter, value)) {
    Value key = FoldCase(Pick(item, bound[1]), bound.Flag(0, false));
    first_of_key.emplace_back(std::move(key), std::move(item));
  }
  std::reverse(first_of_key.begin(), first_of_key.end());  // a dict keeps the last of equal keys
  const Dict last(first_of_key);
  std::vector<Value> items;
  std::reverse(first_of_key.begin(), first_of_key.end());
  const Dict order(first_of_key);
  for (const auto& entry : order.entries()) items.push_back(*last.Find(entry.first));
  return MakeIterator(std::move(items));
}

template <bool kMax>
Value Extreme(Interpreter* interpreter, const Value& value, const Arguments& arguments) {
  const BoundArguments bound(kMax ? "max" : "min", arguments, {"case_sensitive", "attribute"});
  const std::vector<Value> items = Iterate(interpreter, value);
  if (items.empty()) return Value::MakeUndefined("The sequence is empty.");
  const auto key = [&](const Value& item) {
    return FoldCase(Pick(item, bound[1]), bound.Flag(0, false));
  };
  const Value* best = &items[0];
  for (const Value& item : items) {
    if (kMax ? Less(key(*best), key(item)) : Less(key(item), key(*best))) best = &item;
  }
  return *best;
}

Value Sum(Interpreter* interpreter, const Value& value, const Arguments& arguments) {
  const BoundArguments bound("sum", arguments, {"attribute", "start"});
  Value total = bound[1] == nullptr ? Value(int64_t{0}) : *bound[1];
  if (total.IsText()) Fail("sum cannot add strings; use join.");
  for (const Value& item : Iterate(interpreter, value)) {
    total = BinaryOperation(interpreter, "+", total, Pick(item, bound[0]));
  }
  return total;
}

Value Join(Interpreter* interpreter, const Value& value, const Arguments& arguments) {
  const BoundArguments bound("join", arguments, {"d", "attribute"});
  const std::string separator = bound[0] == nullptr ? "" : ToText(*bound[0]);
  std::string out;
  bool first = true;
  for (const Value& item : Iterate(interpreter, value)) {
    if (!first) out += separator;
    first = false;
    out += ToText(Pick(item, bound[1]));
    if (out.size() > kMaxTextBytes) Fail("A text grows beyond 64 MiB.");
  }
  return interpreter->MakeText(std::move(out));
}

Value Map(Interpreter* interpreter, const Value& value, const Arguments& arguments) {
  std::vector<Value> mapped;
  if (!value.IsTruthy()) return MakeIterator({});
  if (arguments.positional.empty()) {
    const BoundArguments bound("map", arguments, {"attribute", "default"}, 1);
    for (const Value& item : Iterate(interpreter, value)) {
      mapped.push_back(Pick(item, bound[0], bound[1]));
    }
    return MakeIterator(std::move(mapped));
  }
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin());
  if (!arguments.positional[0].IsText()) Fail("map needs the name of a filter.");
  for (const Value& item : Iterate(interpreter, value)) {
    mapped.push_back(interpreter->Filter(arguments.positional[0].text(), item, rest));
  }
  return MakeIterator(std::move(mapped));
}

template <bool kKeep, bool kByAttribute>
Value Select(Interpreter* interpreter, const Value& value, const Arguments& arguments) {
  std::vector<Value> selected;
  if (!value.IsTruthy()) return MakeIterator({});
  Arguments rest = arguments;
  Value attribute;
  const auto take = [&rest] {
    Value first = rest.positional[0];
    rest.positional.erase(rest.positional.begin());
    return first;
  };
  if (kByAttribute) {
    if (rest.positional.empty()) Fail("selectattr and rejectattr need the name of an attribute.");
    attribute = take();
  }
  const bool tests = !rest.positional.empty();
  const std::string test = tests ? ToText(take()) : "";
  for (Value& item : Iterate(interpreter, value)) {
    const Value subject = kByAttribute ? Pick(item, &attribute) : item;
    const bool holds = tests ? interpreter->Test(test, subject, rest) : subject.IsTruthy();
    if (holds == kKeep) selected.push_back(std::move(item));
  }
  return MakeIterator(std::move(selected));
}

Value First(Interpreter*, const Value& value, const Arguments&) {
  if (value.IsText()) {
    const Value first = GetItem(value, Value(int64_t{0}));
    return first.IsUndefined() ? Value::MakeUndefined("The sequence is empty.") : first;
  }
  if (Sequence* sequence = value.sequence()) {
    if (sequence->position < sequence->items.size()) {
      const Value& item = sequence->items[sequence->position];
      if (!sequence->HasLength()) ++sequence->position;
      return item;
    }
  } else if (value.dict() != nullptr) {
    if (!value.dict()->entries().empty()) return value.dict()->entries()[0].first;
  } else if (!value.IsUndefined()) {
    Fail("A value of type " + value.TypeName() + " has no first item.");
  }
  return Value::MakeUndefined("The sequence is empty.");
}

Value Last(Interpreter* interpreter, const Value& value, const Arguments&) {
  if (value.sequence() != nullptr && !value.sequence()->HasLength()) {
    Fail("The result of a filter has no last item; use |list before |last.");
  }
  const std::vector<Value> items = Iterate(interpreter, value);
  return items.empty() ? Value::MakeUndefined("The sequence is empty.") : items.back();
}

Value Reverse(Interpreter* interpreter, const Value& value, const Arguments&) {
  if (value.IsText()) {
    std::u32string text = Decode(value.text());
    std::reverse(text.begin(), text.end());
    return interpreter->MakeText(Encode(text), value.IsSafeText());
  }
  std::vector<Value> items = Iterate(interpreter, value);
  std::reverse(items.begin(), items.end());
  const bool consumed = value.sequence() != nullptr && !value.sequence()->HasLength();
  return consumed ? Value::MakeList(std::move(items)) : MakeIterator(std::move(items));
}

Value Items(Interpreter*, const Value& value, const Arguments&) {
  if (value.IsUndefined()) return MakeIterator({});
  if (value.dict() == nullptr) Fail("items needs a dict, got a " + value.TypeName() + ".");
  std::vector<Value> items;
  for (const auto& [key, item] : value.dict()->entries()) {
    items.push_back(Value::MakeTuple({key, item}));
  }
  return MakeIterator(std::move(items));
}

Value Batch(Interpreter* interpreter, const Value& value, const Arguments& arguments) {
  const BoundArguments bound("batch", arguments, {"linecount", "fill_with"}, 1);
  const int64_t size = bound.Integer(0, 1);
  if (size < 1 || size > 100'000) Fail("batch needs a size from 1 to 100000.");
  std::vector<Value> batches;
  std::vector<Value> batch;
  for (Value& item : Iterate(interpreter, value)) {
    if (static_cast<int64_t>(batch.size()) == size) {
      batches.push_back(Value::MakeList(std::exchange(batch, {})));
    }
    batch.push_back(std::move(item));
  }
  if (!batch.empty()) {
    if (bound[1] != nullptr && !bound[1]->IsNone()) {
      batch.resize(std::max(batch.size(), static_cast<size_t>(size)), *bound[1]);
    }
    batches.push_back(Value::MakeList(std::move(batch)));
  }
  return MakeIterator(std::move(batches));
}

Value GroupBy(Interpreter* interpreter, const Value& value, const Arguments& arguments) {
  const BoundArguments bound("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  std::vector<Keyed> keyed;
  for (Value& item : Iterate(interpreter, value)) {
    Value key = FoldCase(Pick(item, bound[0], bound[1]), bound.Flag(2, false));
    keyed.emplace_back(std::move(key), std::move(item));
  }
  SortByKey(interpreter, &keyed, false);
  std::vector<Value> groups;
  for (size_t start = 0; start < keyed.size();) {
    std::vector<Value> members;
    size_t end = start;
    while (end < keyed.size() && Equal(keyed[end].first, keyed[start].first)) {
      members.push_back(keyed[end++].second);
    }
    Value grouper = Pick(members[0], bound[0], bound[1]);
    groups.push_back(Value::MakeTuple({std::move(grouper), Value::MakeList(std::move(members))}));
    start = end;
  }
  return Value::MakeList(std::move(groups));
}

Value Count(Interpreter*, const Value& value, const Arguments&) { return Value(Length(value)); }

struct Entry {
  const char* name;
  FilterFunction function;
};

constexpr Entry kFilters[] = {
    {"length", Count},
    {"count", Count},
    {"join", Join},
    {"map", Map},
    {"select", Select<true, false>},
    {"reject", Select<false, false>},
    {"selectattr", Select<true, true>},
    {"rejectattr", Select<false, true>},
    {"first", First},
    {"last", Last},
    {"items", Items},
    {"dictsort", DictSort},
    {"sort", Sort},
    {"unique", Unique},
    {"reverse", Reverse},
    {"sum", Sum},
    {"min", Extreme<false>},
    {"max", Extreme<true>},
    {"batch", Batch},
    {"groupby", GroupBy},
    {"list", [](Interpreter* interpreter, const Value& value,
                const Arguments&) { return Value::MakeList(Iterate(interpreter, value)); }},
};

}  // namespace

FilterFunction FindSequenceFilter(std::string_view name) {
  for (const Entry& entry : kFilters) {
    if (entry.name == name) return entry.function;
  }
  return nullptr;
}

}  // namespace tessera::chat
