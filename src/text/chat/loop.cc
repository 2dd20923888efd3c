#include "text/chat/loop.h"

#include <algorithm>

namespace tessera::chat {

LoopState::LoopState(std::vector<Value> source, std::function<bool(const Value&)> keep)
    : source_(std::move(source)), keep_(std::move(keep)), depth_(ContainerDepth(source_)) {}

bool LoopState::Pull() {
  while (position_ < source_.size()) {
    const Value item = source_[position_++];
    if (!keep_ || keep_(item)) {
      items_.push_back(item);
      return true;
    }
  }
  return false;
}

bool LoopState::Advance() {
  const size_t next = started_ ? index_ + 1 : 0;
  if (next >= items_.size() && !Pull()) return false;
  index_ = next;
  started_ = true;
  return true;
}

std::optional<Value> LoopState::Attribute(std::string_view name) {
  const int64_t index = index0();
  if (name == "index") return Value(index + 1);
  if (name == "index0") return Value(index);
  if (name == "first") return Value(index == 0);
  // Only recursive loops, which are not supported, are ever deeper.
  if (name == "depth") return Value(int64_t{1});
  if (name == "depth0") return Value(int64_t{0});
  if (name == "previtem") {
    return index == 0 ? Value::MakeUndefined("There is no previous item.") : items_[index_ - 1];
  }
  if (name == "last") return Value(index_ + 1 >= items_.size() && !Pull());
  if (name == "nextitem") {
    if (index_ + 1 >= items_.size() && !Pull()) {
      return Value::MakeUndefined("There is no next item.");
    }
    return items_[index_ + 1];
  }
  const bool counts = name == "length" || name == "revindex" || name == "revindex0";
  if (!counts) return std::nullopt;
  while (Pull()) {
  }
  const auto length = static_cast<int64_t>(items_.size());
  if (name == "length") return Value(length);
  return Value(length - index - (name == "revindex0" ? 1 : 0));
}

bool LoopState::Changed(const std::vector<Value>& values) {
  const bool same =
      last_changed_.has_value() &&
      std::equal(values.begin(), values.end(), last_changed_->begin(), last_changed_->end(), Equal);
  last_changed_ = values;
  return !same;
}

}  // namespace tessera::chat
