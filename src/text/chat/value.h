// The values of a running template, with the meaning that Python gives them. Everything but a
// namespace, an iterator and a loop is immutable once made, so values may share their contents.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace tessera::chat {

class Callable;
class Dict;
class LoopState;
class Value;
struct Namespace;
struct Sequence;

// Why a value is missing; shown when the template uses it.
struct Undefined {
  std::shared_ptr<const std::string> why;
};
struct None {};

struct Text {
  std::shared_ptr<const std::string> data;
  bool safe = false;  // marked by the filters safe and escape: adding plain text escapes that text
};

class Value {
 public:
  Value() : data_(None{}) {}
  // One overload per type, and no silent conversion from pointers or other integers.
  explicit Value(bool value) : data_(value) {}
  explicit Value(int64_t value) : data_(value) {}
  explicit Value(double value) : data_(value) {}
  explicit Value(std::string text, bool safe = false)
      : data_(Text{std::make_shared<const std::string>(std::move(text)), safe}) {}
  explicit Value(Text text) : data_(std::move(text)) {}
  explicit Value(std::shared_ptr<Sequence> sequence) : data_(std::move(sequence)) {}
  explicit Value(std::shared_ptr<const Dict> dict) : data_(std::move(dict)) {}
  explicit Value(std::shared_ptr<Namespace> space) : data_(std::move(space)) {}
  explicit Value(std::shared_ptr<const Callable> callable) : data_(std::move(callable)) {}
  explicit Value(std::shared_ptr<LoopState> loop) : data_(std::move(loop)) {}
  explicit Value(const char*) = delete;
  // `why` is a sentence, as "'x' is undefined".
  static Value MakeUndefined(std::string why);
  static Value MakeList(std::vector<Value> items);
  static Value MakeTuple(std::vector<Value> items);

  template <typename T>
  const T* As() const {
    return std::get_if<T>(&data_);
  }
  bool IsUndefined() const { return As<Undefined>() != nullptr; }
  bool IsNone() const { return As<None>() != nullptr; }
  bool IsText() const { return As<Text>() != nullptr; }
  bool IsSafeText() const { return IsText() && As<Text>()->safe; }
  // bool counts as an integer, as in Python.
  bool IsInteger() const { return As<int64_t>() != nullptr || As<bool>() != nullptr; }
  bool IsNumber() const { return IsInteger() || As<double>() != nullptr; }

  // Only if IsText(), IsInteger() or IsNumber() holds.
  const std::string& text() const { return *As<Text>()->data; }
  int64_t integer() const;
  double number() const;
  // Null when the value is of another kind.
  Sequence* sequence() const;
  const Dict* dict() const;

  bool IsTruthy() const;
  // Python's name of the type, for messages.
  std::string TypeName() const;
  // How many containers lie inside each other; 0 for plain values.
  int depth() const;
  // How many values lie inside, this one included; what comparing and printing it costs.
  int64_t weight() const;

 private:
  std::variant<None, Undefined, bool, int64_t, double, Text, std::shared_ptr<Sequence>,
               std::shared_ptr<const Dict>, std::shared_ptr<Namespace>,
               std::shared_ptr<const Callable>, std::shared_ptr<LoopState>>
      data_;
};

// Containers nested deeper than this are refused, so that walking and freeing them may recurse.
inline constexpr int kMaxValueDepth = 300;
// A value shared many times inside a container counts as often, so this bounds what a few nested
// lists can expand to.
inline constexpr int64_t kMaxValueWeight = 10'000'000;
// One more than the values inside; an error above kMaxValueWeight.
int64_t ContainerWeight(const std::vector<Value>& items);
// The depth of a container that holds `items`; an error above kMaxValueDepth.
int ContainerDepth(const std::vector<Value>& items);

struct Sequence {
  enum class Kind { kList, kTuple, kRange, kKeys, kValues, kItems, kIterator };
  Sequence(Kind sequence_kind, std::vector<Value> sequence_items)
      : kind(sequence_kind),
        items(std::move(sequence_items)),
        depth(ContainerDepth(items)),
        weight(ContainerWeight(items)) {}

  Kind kind;
  std::vector<Value> items;
  int depth;
  int64_t weight;
  size_t position = 0;                    // of an iterator: what came before is used up
  int64_t start = 0, stop = 0, step = 1;  // of a range
  bool IsIndexable() const { return kind <= Kind::kRange; }
  bool HasLength() const { return kind != Kind::kIterator; }
};

Value MakeSequence(Sequence::Kind kind, std::vector<Value> items);

// In order of insertion; a later value for a known key keeps the key's place.
class Dict {
 public:
  using Entry = std::pair<Value, Value>;
  // Keys must be hashable (numbers, text, none, tuples of them); others are an error.
  explicit Dict(std::vector<Entry> entries);

  const std::vector<Entry>& entries() const { return entries_; }
  // Null when the key is absent.
  const Value* Find(const Value& key) const;
  const Value* Find(std::string_view key) const;
  int depth() const { return depth_; }
  int64_t weight() const { return weight_; }

 private:
  std::vector<Entry> entries_;
  std::unordered_map<std::string, size_t> index_;  // from HashKey
  int depth_ = 0;
  int64_t weight_ = 1;
};

Value MakeDict(std::vector<Dict::Entry> entries);

// The only thing a template can change: {% set ns.name = value %}.
struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
  const Value* Find(std::string_view name) const;
  void Set(const std::string& name, Value value);
};

// Python's == and its order; Less fails if Python raises TypeError.
bool Equal(const Value& a, const Value& b);
bool Less(const Value& a, const Value& b);

// JSON as the values of a template; an error for integers beyond int64 and for too deep nesting.
Value FromJson(const nlohmann::ordered_json& json);

}  // namespace tessera::chat
