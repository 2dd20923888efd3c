// The JSON object that is a call: {"name": ..., "arguments": {...}}, read byte by byte.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "server/protocol/json_scanner.h"
#include "server/protocol/tool_options.h"

namespace tessera {

// Of one object. Its arguments are an object under "arguments" or "parameters", given as the bytes
// that were read; or a string that holds them, given decoded once it is complete; or absent, which
// counts as {}. Of several members of one kind the first counts, and others are passed over.
//
// The call is certain as soon as its name was read and its arguments have begun: a bracket that is
// followed by a quote or its counterpart. Not thread-safe.
class CallObject {
 public:
  enum class State : uint8_t {
    kOpen,
    kClosed,  // this byte closed the object
    kBroken,  // the object does not continue with this byte, or is no call
  };

  // `known`: the tools that may be called; null: any. Outlives this.
  explicit CallObject(const ToolOptions* known = nullptr) : known_(known) {}

  // The next byte; the first is the opening bracket. Not to be called after kClosed or kBroken.
  State Take(char c);

  bool certain() const { return !name_.empty() && arguments_begun_; }
  const std::string& name() const { return name_; }
  // Those that were read since the last time; to be asked for if the call is certain.
  std::string TakeArguments() { return std::exchange(arguments_, ""); }

 private:
  enum class Place : uint8_t { kStart, kFirstKey, kKey, kInKey, kColon, kValue, kInValue, kAfter };
  enum class Member : uint8_t { kName, kArguments, kOther };

  State TakeValue(char c);
  State EndValue();
  State Close();
  State BeginToken(Place place, char c);
  Member MemberOf(const std::string& key) const;

  const ToolOptions* known_;
  Place place_ = Place::kStart;
  JsonScanner scanner_;  // of the key or value that is being read
  std::string token_;    // its text, if that matters
  Member member_ = Member::kOther;
  bool is_object_ = false;  // the arguments are one, and no string
  bool arguments_begun_ = false;
  bool has_arguments_ = false;
  std::string name_;
  std::string arguments_;
};

}  // namespace tessera
