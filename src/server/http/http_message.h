// Requests and answers of HTTP as the rest of the server sees them: no sockets here.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace tessera {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;   // "GET"
  std::string path;     // without the query: "/v1/models"
  std::string query;    // behind the '?'
  HttpHeaders headers;  // names in lower case
  std::string body;
  std::string peer;  // the client's address, without its port

  // "" where the request has no such header. `name` is in lower case.
  std::string_view Header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  HttpHeaders headers;  // besides type and length
  std::string body;
};

// "Not Found" for 404; "" for a status that this server never sends.
std::string_view HttpReason(int status);

// One answer under way. All calls come one at a time; destroying it means that nobody waits for the
// answer any longer.
class Exchange {
 public:
  struct Output {
    // Once, before or with the first data: the head of the answer. With `end` in the same output it
    // is the whole answer; otherwise its body is empty and the data follows in pieces.
    std::optional<HttpResponse> head;
    std::string data;
    bool end = false;
  };

  virtual ~Exchange() = default;

  // What there is by now, perhaps nothing. Never waits.
  virtual Output Poll() = 0;
};

using HttpAnswer = std::variant<HttpResponse, std::unique_ptr<Exchange>>;

// What a server does with its requests. Called from several threads at a time.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;

  // With the head alone, before the body is read: an answer where the body is not wanted.
  virtual std::optional<HttpResponse> Screen(const HttpRequest& head) = 0;

  // Whatever takes time happens elsewhere: `wake` may be called from any thread, at any time, and
  // has Exchange::Poll called soon after.
  virtual HttpAnswer Handle(const HttpRequest& request, std::function<void()> wake) = 0;

  // Whether Handle() may take long for this request: others must not wait for it.
  virtual bool TakesLong(const HttpRequest& /*request*/) { return false; }

  // Called once for every answer: what to add to its headers.
  virtual HttpHeaders Sending(int status) = 0;

  // The answer to a request that breaks the protocol or a limit.
  virtual HttpResponse Refuse(int status, const std::string& message) = 0;
};

}  // namespace tessera
