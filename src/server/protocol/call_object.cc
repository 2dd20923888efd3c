#include "server/protocol/call_object.h"

#include <optional>

#include "server/protocol/json.h"

namespace tessera {
namespace {

using Found = JsonScanner::Found;

// The text that a JSON string stands for.
std::optional<std::string> Decode(const std::string& token) {
  const Json text = Json::parse(token, nullptr, /*allow_exceptions=*/false);
  if (!text.is_string()) return std::nullopt;
  return text.get<std::string>();
}

}  // namespace

CallObject::State CallObject::Take(char c) {
  const bool is_space = IsJsonSpace(c);
  switch (place_) {
    case Place::kStart:
      if (c != '{') return State::kBroken;
      place_ = Place::kFirstKey;
      return State::kOpen;
    case Place::kFirstKey:
      if (c == '}') return Close();
      [[fallthrough]];
    case Place::kKey:
      if (is_space) return State::kOpen;
      if (c != '"') return State::kBroken;
      return BeginToken(Place::kInKey, c);
    case Place::kInKey: {
      token_ += c;
      if (scanner_.Take(c) != Found::kLast) return State::kOpen;
      const std::optional<std::string> key = Decode(token_);
      if (!key) return State::kBroken;
      member_ = MemberOf(*key);
      place_ = Place::kColon;
      return State::kOpen;
    }
    case Place::kColon:
      if (is_space) return State::kOpen;
      place_ = Place::kValue;
      return c == ':' ? State::kOpen : State::kBroken;
    case Place::kValue:
      if (is_space) return State::kOpen;
      if (member_ == Member::kName && c != '"') return State::kBroken;
      if (member_ == Member::kArguments) {
        if (c != '"' && c != '{') return State::kBroken;
        is_object_ = c == '{';
        has_arguments_ = true;
        if (is_object_) arguments_ = c;
      }
      return BeginToken(Place::kInValue, c);
    case Place::kInValue:
      return TakeValue(c);
    case Place::kAfter:
      if (c == '}') return Close();
      if (c == ',') place_ = Place::kKey;
      return c == ',' || is_space ? State::kOpen : State::kBroken;
  }
  return State::kBroken;
}

CallObject::State CallObject::BeginToken(Place place, char c) {
  place_ = place;
  token_.assign(1, c);
  scanner_ = JsonScanner();
  return scanner_.Take(c) == Found::kNoJson ? State::kBroken : State::kOpen;
}

// Of several members of one kind the first counts.
CallObject::Member CallObject::MemberOf(const std::string& key) const {
  if (key == "name" && name_.empty()) return Member::kName;
  if ((key == "arguments" || key == "parameters") && !has_arguments_) return Member::kArguments;
  return Member::kOther;
}

CallObject::State CallObject::TakeValue(char c) {
  const Found found = scanner_.Take(c);
  if (found == Found::kNoJson) return State::kBroken;
  if (found == Found::kPast) {
    place_ = Place::kAfter;
    return Take(c);
  }
  if (member_ == Member::kArguments && is_object_) {
    if (!arguments_begun_ && !IsJsonSpace(c)) {
      if (c != '"' && c != '}') return State::kBroken;
      arguments_begun_ = true;
    }
    arguments_ += c;
  } else if (member_ != Member::kOther) {
    token_ += c;
  }
  return found == Found::kLast ? EndValue() : State::kOpen;
}

CallObject::State CallObject::EndValue() {
  place_ = Place::kAfter;
  if (member_ == Member::kOther || (member_ == Member::kArguments && is_object_)) {
    return State::kOpen;
  }
  std::optional<std::string> text = Decode(token_);
  if (!text) return State::kBroken;
  if (member_ == Member::kArguments) {
    arguments_ = std::move(*text);
    arguments_begun_ = true;
    return State::kOpen;
  }
  if (text->empty() || (known_ != nullptr && !known_->Knows(*text))) return State::kBroken;
  name_ = std::move(*text);
  return State::kOpen;
}

CallObject::State CallObject::Close() {
  if (name_.empty()) return State::kBroken;
  if (!has_arguments_) {
    arguments_ = "{}";
    arguments_begun_ = true;
  }
  return State::kClosed;
}

}  // namespace tessera
