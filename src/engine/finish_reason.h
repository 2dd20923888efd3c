// Why a request ended.
#pragma once

#include <cstdint>

namespace tessera {

enum class FinishReason : uint8_t {
  kNone,       // it continues
  kStop,       // an end token or a stop string
  kLength,     // max_tokens, or the longest that the model or the cache can hold
  kCancelled,  // by Cancel(), or because the engine was destroyed
  kError,
  kTimeout,  // its deadline has passed
};

// "stop", "length", "cancelled", "error", "timeout"; "" for kNone.
const char* ToString(FinishReason reason);

}  // namespace tessera
