// Fields of a request that change when it is served, and never what is answered.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "server/protocol/json.h"

namespace tessera {

struct SchedulingFields {
  int32_t priority = 0;  // lower goes first
  std::string user;      // "": unnamed
  float timeout = 0;     // seconds from the request's arrival; 0: the server's own limit
  std::optional<int32_t> speculative_tokens;  // none: the server's own number
};

void ReadScheduling(FieldReader* fields, SchedulingFields* result);

}  // namespace tessera
