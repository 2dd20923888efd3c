// Requests and answers as text on the wire.
#pragma once

#include <ctime>
#include <optional>
#include <string>
#include <string_view>

#include "server/http/http_message.h"

namespace tessera {

std::string LowerCase(std::string_view text);

// Fills target, path and query. The target's scheme and authority ("http://host/path"), which only
// proxies send, are left out of the path.
void ReadTarget(std::string_view target, HttpRequest* request);

// "a%2Fb" is "a/b". What is no escape stays as it is.
std::string DecodePercents(std::string_view text);

// Why a request of HTTP/1.1, or of HTTP/1.0, cannot be served whatever it asks for.
struct HeadProblem {
  int status = 400;
  std::string message;
};
std::optional<HeadProblem> FindHeadProblem(const HttpRequest& head, bool http_1_0);

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7), whatever the locale.
std::string HttpDate(std::time_t time);

struct AnswerFraming {
  bool keep_alive = false;  // of the connection
  bool http_1_0 = false;    // the client's version
  bool chunked = false;     // the body's length is not known; otherwise it is response.body's
};

// Everything before the body. `more` are headers besides the response's own.
std::string AnswerHead(const HttpResponse& response, const HttpHeaders& more,
                       const AnswerFraming& framing);

// One piece of a body of unknown length, which is not empty, and the end of such a body.
void AppendChunk(std::string_view data, std::string* out);
constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace tessera
