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
  // What the engine refuses is 400, with the field that the message names as `param`; memory that
  // ran out is 503, all else 500.
  static ApiError FromEngine(const Error& error);
};

// {"error": {"message", "type", "param", "code"}}
std::string ErrorJson(const ApiError& error);
HttpResponse ErrorResponse(const ApiError& error);

}  // namespace tessera
