// Errors as OpenAI's clients expect them.
#pragma once

#include <string>

#include "server/http/http_message.h"
#include "tessera/result.h"

namespace tessera {

struct ApiError {
  int status = 400;
  std::string message;  // a sentence: what, why, what to change
  std::string param;    // the field that it is about; "": none
  std::string code;     // a name that programs look at, as "model_not_found"; "": none

  static ApiError Invalid(std::string param, std::string message);
  // `fields` of the engine's message that begins with a field's name becomes `param`.
  static ApiError FromEngine(const Error& error);
};

// {"error": {"message", "type", "param", "code"}}
std::string ErrorJson(const ApiError& error);
HttpResponse ErrorResponse(const ApiError& error);

}  // namespace tessera
