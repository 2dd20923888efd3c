// Requests and answers of HTTP as the rest of the server sees them: no sockets here.
#pragma once

#include <chrono>
#include <cstdint>
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
  std::string target;   // as it was sent: "/v1/models/a%2Fb?x=1"
  std::string path;     // without the query, its escapes decoded: "/v1/models/a/b"
  std::string query;    // after the '?'
  HttpHeaders headers;  // names in lower case
  std::string body;
  std::string peer;  // the client's address, without its port
  // When its head had been read: its time runs from there, wherever it waits.
  std::chrono::steady_clock::time_point arrival = std::chrono::steady_clock::now();

  // "" if the request has no such header. `name` is in lower case.
  std::string_view Header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  HttpHeaders headers;  // besides type and length
  std::string body;
};

// The head of a stream of server-sent events, which nothing on the way may hold back.
HttpResponse EventStreamHead();

// "Not Found" for 404; "" for a status that this server never sends.
std::string_view HttpReason(int status);

// What an answer under way has become, for the log.
struct AnswerNotes {
  int64_t prompt_tokens = 0;
  int64_t output_tokens = 0;
  int error_status = 0;  // of an answer that failed after its head, as a stream may; 0: none
  std::string error;     // likewise: the sentence
};

// One answer under way. All calls come one at a time; destroying it means that nobody waits for the
// answer any longer.
class Exchange {
 public:
  struct Output {
    // Once, before or with the first data: the head of the answer. What its body holds comes before
    // the data. With `end` in the same output that is the whole answer, sent with its length.
    std::optional<HttpResponse> head;
    std::string data;
    bool end = false;
  };

  virtual ~Exchange() = default;

  // What there is by now, perhaps nothing. Never waits.
  virtual Output Poll() = 0;

  // The server stops: the last output, called instead of Poll(). Its `end` is set. If
  // no head was sent before and this has none, the client hears that the server is shutting down.
  virtual Output Cut() {
    Output output;
    output.end = true;
    return output;
  }

  virtual AnswerNotes Notes() const { return {}; }
};

// One request that was answered, or given up.
struct AnswerRecord {
  int status = 0;            // 0: the client left before its answer began
  bool is_complete = false;  // all of it was sent
  double seconds = 0;        // since the request's head had come
  std::string failure;       // the body of an answer with a status from 500 on
  AnswerNotes notes;
};

using HttpAnswer = std::variant<HttpResponse, std::unique_ptr<Exchange>>;

// What a server does with its requests. Called from several threads at a time.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;

  // With the head alone, before the body is read: an answer if the body is not wanted.
  virtual std::optional<HttpResponse> Screen(const HttpRequest& head) = 0;

  // Whatever takes time happens elsewhere: `wake` may be called from any thread, at any time, and
  // has Exchange::Poll called soon after.
  virtual HttpAnswer Handle(const HttpRequest& request, std::function<void()> wake) = 0;

  // Whether Handle() may take long for this request: others must not wait for it.
  virtual bool TakesLong(const HttpRequest& /*request*/) { return false; }

  // Called once for every answer: what to add to its headers. `head` is empty if the request
  // could not be read.
  virtual HttpHeaders Sending(const HttpRequest& head, int status) = 0;

  // Called once for every request, when the connection has done with it.
  virtual void Answered(const HttpRequest& /*head*/, const AnswerRecord& /*record*/) {}

  // The answer to a request that breaks the protocol or a limit.
  virtual HttpResponse Refuse(int status, const std::string& message) = 0;
};

}  // namespace tessera
