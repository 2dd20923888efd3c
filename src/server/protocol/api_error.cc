#include "server/protocol/api_error.h"

#include <array>
#include <string_view>
#include <utility>

#include "server/protocol/json.h"

namespace tessera {
namespace {

const char* ErrorType(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 500:
      return "server_error";
    case 503:
      return "service_unavailable_error";
    case 504:
      return "timeout_error";
    default:
      return "invalid_request_error";
  }
}

// The engine's sentences about a request begin with the name of the value that they are about.
std::string ParamOf(std::string_view message) {
  constexpr std::array kNames = {
      "temperature",       "top_p", "min_p",      "repetition_penalty", "presence_penalty",
      "frequency_penalty", "top_k", "max_tokens", "min_tokens",         "logprobs",
      "prompt_logprobs",   "stop"};
  for (const std::string_view name : kNames) {
    if (message.starts_with(std::string(name) + " ")) return std::string(name);
  }
  if (message.starts_with("The prompt ")) return "prompt";
  for (const std::string_view name :
       {"logit_bias", "allowed_token_ids", "bad_words", "stop_token_ids", "min_tokens"}) {
    if (message.find(name) != std::string_view::npos) return std::string(name);
  }
  return "";
}

}  // namespace

ApiError ApiError::Invalid(std::string param, std::string message) {
  return {400, std::move(message), std::move(param), ""};
}

ApiError ApiError::FromEngine(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kUnsupported:
      return {400, error.message, ParamOf(error.message), ""};
    case ErrorCode::kOutOfMemory:
      return {503, error.message, "", ""};
    default:
      return {500, error.message, "", ""};
  }
}

std::string ErrorJson(const ApiError& error) {
  Json body;
  Json& inner = body["error"];
  inner["message"] = error.message;
  inner["type"] = ErrorType(error.status);
  inner["param"] = error.param.empty() ? Json(nullptr) : Json(error.param);
  inner["code"] = error.code.empty() ? Json(nullptr) : Json(error.code);
  return Dump(body);
}

HttpResponse ErrorResponse(const ApiError& error) {
  HttpResponse response;
  response.status = error.status;
  response.body = ErrorJson(error);
  return response;
}

}  // namespace tessera
