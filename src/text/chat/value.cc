#include "text/chat/value.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "text/chat/callable.h"
#include "text/chat/error.h"
#include "text/chat/loop.h"

namespace tessera::chat {
namespace {

// Equal keys have equal strings: True, 1 and 1.0 are one key.
std::string HashKey(const Value& key) {
  if (key.IsText()) return "s" + key.text();
  if (key.IsInteger()) return "i" + std::to_string(key.integer());
  if (const double* number = key.As<double>()) {
    if (std::abs(*number) < 9.0e18 && std::trunc(*number) == *number) {
      return "i" + std::to_string(static_cast<int64_t>(*number));
    }
    return "f" + std::to_string(*number);
  }
  if (key.IsNone()) return "n";
  if (key.IsUndefined()) return "u";
  if (const Sequence* sequence = key.sequence();
      sequence != nullptr && sequence->kind == Sequence::Kind::kTuple) {
    std::string out = "t";
    for (const Value& item : sequence->items) {
      const std::string part = HashKey(item);
      out += std::to_string(part.size()) + ":" + part;
    }
    return out;
  }
  Fail("A value of type " + key.TypeName() + " cannot be the key of a dict, as it is unhashable.");
}

bool SequencesEqual(const Sequence& a, const Sequence& b) {
  using Kind = Sequence::Kind;
  if (&a == &b) return true;
  if (a.kind != b.kind || a.kind == Kind::kIterator || a.kind == Kind::kValues) return false;
  return std::equal(a.items.begin(), a.items.end(), b.items.begin(), b.items.end(), Equal);
}

bool DictsEqual(const Dict& a, const Dict& b) {
  if (a.entries().size() != b.entries().size()) return false;
  return std::all_of(a.entries().begin(), a.entries().end(), [&](const Dict::Entry& entry) {
    const Value* other = b.Find(entry.first);
    return other != nullptr && Equal(entry.second, *other);
  });
}

template <typename T>
bool SameObject(const Value& a, const Value& b) {
  const auto* left = a.As<std::shared_ptr<T>>();
  const auto* right = b.As<std::shared_ptr<T>>();
  return left != nullptr && right != nullptr && *left == *right;
}

// A double and an int64 compared without rounding the integer: -1, 0, 1; 2 for NaN.
int CompareNumbers(const Value& a, const Value& b) {
  const auto sign = [](auto left, auto right) { return left < right ? -1 : left > right ? 1 : 0; };
  if (a.IsInteger() && b.IsInteger()) return sign(a.integer(), b.integer());
  if (std::isnan(a.number()) || std::isnan(b.number())) return 2;
  if (!a.IsInteger() && !b.IsInteger()) return sign(a.number(), b.number());
  if (!a.IsInteger()) return -CompareNumbers(b, a);
  const double right = b.number();
  if (right >= 9223372036854775808.0) return -1;
  if (right < -9223372036854775808.0) return 1;
  const auto floor = static_cast<int64_t>(std::floor(right));
  const int compared = sign(a.integer(), floor);
  return compared == 0 && right > std::floor(right) ? -1 : compared;
}

}  // namespace

Value Value::MakeUndefined(std::string why) {
  Value value;
  value.data_ = Undefined{std::make_shared<const std::string>(std::move(why))};
  return value;
}

Value Value::MakeList(std::vector<Value> items) {
  return MakeSequence(Sequence::Kind::kList, std::move(items));
}

Value Value::MakeTuple(std::vector<Value> items) {
  return MakeSequence(Sequence::Kind::kTuple, std::move(items));
}

int64_t Value::integer() const {
  const bool* flag = As<bool>();
  return flag != nullptr ? static_cast<int64_t>(*flag) : *As<int64_t>();
}

double Value::number() const {
  const double* real = As<double>();
  return real != nullptr ? *real : static_cast<double>(integer());
}

Sequence* Value::sequence() const {
  const auto* pointer = As<std::shared_ptr<Sequence>>();
  return pointer == nullptr ? nullptr : pointer->get();
}

const Dict* Value::dict() const {
  const auto* pointer = As<std::shared_ptr<const Dict>>();
  return pointer == nullptr ? nullptr : pointer->get();
}

bool Value::IsTruthy() const {
  if (IsUndefined() || IsNone()) return false;
  if (IsInteger()) return integer() != 0;
  if (const double* real = As<double>()) return *real != 0.0;
  if (IsText()) return !text().empty();
  if (const Sequence* items = sequence()) return !items->HasLength() || !items->items.empty();
  if (const Dict* mapping = dict()) return !mapping->entries().empty();
  return true;
}

std::string Value::TypeName() const {
  if (IsUndefined()) return "Undefined";
  if (IsNone()) return "NoneType";
  if (As<bool>() != nullptr) return "bool";
  if (As<int64_t>() != nullptr) return "int";
  if (As<double>() != nullptr) return "float";
  if (IsText()) return IsSafeText() ? "Markup" : "str";
  if (dict() != nullptr) return "dict";
  if (const Sequence* items = sequence()) {
    static constexpr const char* kNames[] = {"list",        "tuple",      "range",    "dict_keys",
                                             "dict_values", "dict_items", "generator"};
    return kNames[static_cast<int>(items->kind)];
  }
  if (As<std::shared_ptr<Namespace>>() != nullptr) return "Namespace";
  if (As<std::shared_ptr<LoopState>>() != nullptr) return "LoopContext";
  return "function";
}

int Value::depth() const {
  if (const Sequence* items = sequence()) return items->depth;
  if (const Dict* mapping = dict()) return mapping->depth();
  if (const auto* callable = As<std::shared_ptr<const Callable>>()) return (*callable)->depth();
  if (const auto* loop = As<std::shared_ptr<LoopState>>()) return (*loop)->depth();
  return 0;
}

int64_t Value::weight() const {
  if (const Sequence* items = sequence()) return items->weight;
  if (const Dict* mapping = dict()) return mapping->weight();
  return 1;
}

int64_t ContainerWeight(const std::vector<Value>& items) {
  int64_t weight = 1;
  for (const Value& item : items) {
    weight += item.weight();
    if (weight > kMaxValueWeight) Fail("A value holds more than 10 million others.");
  }
  return weight;
}

int ContainerDepth(const std::vector<Value>& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  if (depth >= kMaxValueDepth) {
    Fail("Values are nested more than " + std::to_string(kMaxValueDepth) + " deep.");
  }
  return depth + 1;
}

Value MakeSequence(Sequence::Kind kind, std::vector<Value> items) {
  return Value(std::make_shared<Sequence>(kind, std::move(items)));
}

Dict::Dict(std::vector<Entry> entries) {
  entries_.reserve(entries.size());
  for (Entry& entry : entries) {
    depth_ = std::max({depth_, entry.first.depth(), entry.second.depth()});
    weight_ += entry.first.weight() + entry.second.weight();
    if (weight_ > kMaxValueWeight) Fail("A value holds more than 10 million others.");
    const auto [found, inserted] = index_.try_emplace(HashKey(entry.first), entries_.size());
    if (inserted) {
      entries_.push_back(std::move(entry));
    } else {
      entries_[found->second].second = std::move(entry.second);
    }
  }
  if (depth_ >= kMaxValueDepth) {
    Fail("Values are nested more than " + std::to_string(kMaxValueDepth) + " deep.");
  }
  ++depth_;
}

const Value* Dict::Find(const Value& key) const {
  const auto found = index_.find(HashKey(key));
  return found == index_.end() ? nullptr : &entries_[found->second].second;
}

const Value* Dict::Find(std::string_view key) const {
  const auto found = index_.find("s" + std::string(key));
  return found == index_.end() ? nullptr : &entries_[found->second].second;
}

Value MakeDict(std::vector<Dict::Entry> entries) {
  return Value(std::make_shared<const Dict>(std::move(entries)));
}

const Value* Namespace::Find(std::string_view name) const {
  for (const auto& [key, value] : attributes) {
    if (key == name) return &value;
  }
  return nullptr;
}

void Namespace::Set(const std::string& name, Value value) {
  for (auto& [key, old] : attributes) {
    if (key == name) {
      old = std::move(value);
      return;
    }
  }
  attributes.emplace_back(name, std::move(value));
}

bool Equal(const Value& a, const Value& b) {
  if (a.IsNumber() && b.IsNumber()) return CompareNumbers(a, b) == 0;
  if (a.IsText() && b.IsText()) return a.text() == b.text();
  if (a.IsNone() || b.IsNone()) return a.IsNone() && b.IsNone();
  if (a.IsUndefined() || b.IsUndefined()) return a.IsUndefined() && b.IsUndefined();
  if (a.dict() != nullptr && b.dict() != nullptr) return DictsEqual(*a.dict(), *b.dict());
  if (a.sequence() != nullptr && b.sequence() != nullptr) {
    return SequencesEqual(*a.sequence(), *b.sequence());
  }
  return SameObject<Namespace>(a, b) || SameObject<const Callable>(a, b) ||
         SameObject<LoopState>(a, b);
}

bool Less(const Value& a, const Value& b) {
  if (a.IsNumber() && b.IsNumber()) return CompareNumbers(a, b) == -1;
  if (a.IsText() && b.IsText()) return a.text() < b.text();  // UTF-8 keeps the code points' order
  const Sequence* left = a.sequence();
  const Sequence* right = b.sequence();
  if (left != nullptr && right != nullptr && left->kind == right->kind &&
      left->kind <= Sequence::Kind::kTuple) {
    const size_t common = std::min(left->items.size(), right->items.size());
    for (size_t i = 0; i < common; ++i) {
      if (!Equal(left->items[i], right->items[i])) return Less(left->items[i], right->items[i]);
    }
    return left->items.size() < right->items.size();
  }
  for (const Value* side : {&a, &b}) {
    if (side->IsUndefined()) Fail(*side->As<Undefined>()->why);
  }
  Fail("Values of type " + a.TypeName() + " and " + b.TypeName() + " have no order.");
}

namespace {

Value ConvertJson(const nlohmann::ordered_json& json, int depth) {
  if (depth > kMaxValueDepth) {
    Fail("The input is nested more than " + std::to_string(kMaxValueDepth) + " deep.");
  }
  if (json.is_null()) return Value();
  if (json.is_boolean()) return Value(json.get<bool>());
  if (json.is_number_unsigned()) {
    const auto number = json.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      Fail("The input holds the integer " + std::to_string(number) +
           ", which does not fit into 64 bits with a sign.");
    }
    return Value(static_cast<int64_t>(number));
  }
  if (json.is_number_integer()) return Value(json.get<int64_t>());
  if (json.is_number_float()) return Value(json.get<double>());
  if (json.is_string()) return Value(json.get_ref<const std::string&>());
  if (json.is_array()) {
    std::vector<Value> items;
    items.reserve(json.size());
    for (const auto& item : json) items.push_back(ConvertJson(item, depth + 1));
    return Value::MakeList(std::move(items));
  }
  if (json.is_object()) {
    std::vector<Dict::Entry> entries;
    entries.reserve(json.size());
    for (const auto& [key, item] : json.items()) {
      entries.emplace_back(Value(key), ConvertJson(item, depth + 1));
    }
    return MakeDict(std::move(entries));
  }
  Fail("The input holds a JSON value that is neither plain, an array nor an object.");
}

}  // namespace

Value FromJson(const nlohmann::ordered_json& json) { return ConvertJson(json, 0); }

}  // namespace tessera::chat
