#include "server/protocol/scheduling_fields.h"

#include <limits>

#include "engine/engine.h"

namespace tessera {

void ReadScheduling(FieldReader* fields, SchedulingFields* result) {
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
  fields->Read("priority", -kMax, kMax, &result->priority);
  fields->Read("user", &result->user);
  if (fields->Find("timeout") == nullptr) return;
  fields->Read("timeout", &result->timeout);
  if (fields->ok() && !(result->timeout > 0 && result->timeout <= kMaxTimeoutSeconds)) {
    fields->Fail(ApiError::Invalid(
        "timeout", "timeout must be the seconds that the request may take, above 0 and at most " +
                       std::to_string(kMaxTimeoutSeconds) + "; leave it out for no limit."));
  }
}

}  // namespace tessera
