#include "server/protocol/scheduling_fields.h"

#include <limits>
#include <string>

#include "engine/engine.h"

namespace tessera {
namespace {

// {"method": "ngram", "num_tokens": N}, as vLLM's speculative_config has it, or the number alone.
void ReadSpeculation(FieldReader* fields, std::optional<int32_t>* tokens) {
  fields->Read("num_speculative_tokens", 0, kMaxSpeculativeTokens, tokens);
  const Json* field = fields->Find("speculative");
  if (field == nullptr) return;
  const auto fail = [fields](const std::string& message) {
    fields->Fail(ApiError::Invalid("speculative", message));
  };
  if (!field->is_object()) {
    return fail(std::string("speculative must be an object, as {\"method\": \"ngram\", "
                            "\"num_tokens\": 4}, but is ") +
                JsonTypeName(*field) + ".");
  }
  FieldReader inner(*field, "speculative.");
  std::string method = "ngram";
  inner.Read("method", &method);
  inner.Read("num_tokens", 0, kMaxSpeculativeTokens, tokens);
  if (const auto& error = inner.error()) return fields->Fail(*error);
  if (method != "ngram") {
    fail(
        "speculative.method can only be \"ngram\": this server guesses from repetitions and has "
        "no draft model.");
  }
}

}  // namespace

void ReadScheduling(FieldReader* fields, SchedulingFields* result) {
  constexpr size_t kMaxUserBytes = 256;  // each answer of a request has its copy
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
  fields->Read("priority", -kMax, kMax, &result->priority);
  fields->Read("user", &result->user);
  if (fields->ok() && result->user.size() > kMaxUserBytes) {
    fields->Fail(ApiError::Invalid("user", "user must have at most " +
                                               std::to_string(kMaxUserBytes) +
                                               " bytes; send a hash of longer names."));
    return;
  }
  ReadSpeculation(fields, &result->speculative_tokens);
  if (fields->Find("timeout") == nullptr) return;
  fields->Read("timeout", &result->timeout);
  if (fields->ok() && !(result->timeout > 0 && result->timeout <= kMaxTimeoutSeconds)) {
    fields->Fail(ApiError::Invalid(
        "timeout", "timeout must be the seconds that the request may take, above 0 and at most " +
                       std::to_string(kMaxTimeoutSeconds) + "; leave it out for no limit."));
  }
}

}  // namespace tessera
