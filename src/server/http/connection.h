// One connection: requests are read, handled and answered one after another.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "server/http/body_budget.h"
#include "server/http/http_message.h"
#include "server/http/http_server.h"
#include "server/http/http_wire.h"
#include "server/http/turn_queue.h"

namespace tessera {

// Threads for requests that take long. Small ones do not wait for large ones.
struct LongWork {
  TurnQueue small;
  TurnQueue large;
};

// What the connections of a server have in common; it outlives them.
struct ConnectionContext {
  HttpServerOptions options;
  HttpHandler* handler = nullptr;
  LongWork* long_work = nullptr;
  BodyBudget bodies;
};

// Everything happens on the socket's executor, one thread, but ShutDown(), Close() and the wake
// functions that handlers get.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Socket = boost::asio::ip::tcp::socket;

  // `on_end` is called once, at the end of Run() or as this ends before. With `refusal` that is all
  // that the client hears.
  Connection(Socket socket, ConnectionContext* context, std::function<void()> on_end,
             std::optional<HttpResponse> refusal = {});
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Serves the connection until its end. Called once.
  void Start();

  // The answer under way is brought to an end, and the connection's end follows. Thread-safe.
  void ShutDown();

  // Ends it at once. Thread-safe.
  void Close();

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  using SystemError = boost::system::error_code;
  template <typename T>
  using Awaitable = boost::asio::awaitable<T>;
  using Clock = std::chrono::steady_clock;

  Awaitable<void> Run(std::shared_ptr<Connection> self);
  void Finish();
  // Reads and answers one request; false if the connection is over.
  Awaitable<bool> ServeOne();
  // Reads the body into request_; false if it was refused, or the connection is over.
  Awaitable<bool> ReadBody(Parser* parser);
  Awaitable<bool> AnswerReadError(SystemError error);
  Awaitable<void> Handle();  // request_; fills answer_, or not if the connection is over
  void HandleInTurn();       // on a thread for long work: fills long_result_
  // Tells the client what its request has failed with, if nothing of its answer was sent.
  Awaitable<void> AnswerFailure(HeadProblem failure);
  Awaitable<bool> RunExchange(Exchange* exchange);
  Awaitable<bool> Send(const HttpResponse& response);
  Awaitable<bool> Refuse(int status, const std::string& message);
  Awaitable<bool> Write(const std::string& text);
  Awaitable<void> WaitForWake();
  // Lets the client read the last answer although not all that it sent was read.
  Awaitable<void> Linger();

  std::string Head(const HttpResponse& response, bool chunked);
  void ReadPeer();      // into request_
  void ReportAnswer();  // the request's, to the handler
  std::function<void()> Waker();
  void Wake();

  // While an answer is under way, notices that the client goes away.
  void StartWatching();
  Awaitable<void> StopWatching();

  template <typename Function>
  void Post(const Function& function);  // to the executor; does not fail
  void ReportBrokenEnd() noexcept;

  void SetDeadline(Clock::time_point deadline);
  // Of a transfer that has just moved `bytes`, and is paid for until `paid_until`.
  void SetTransferDeadline(std::chrono::milliseconds timeout, uint64_t bytes,
                           Clock::time_point* paid_until);
  void ClearDeadline() { deadline_ = Clock::time_point::max(); }
  void WaitForDeadline();

  Socket socket_;
  ConnectionContext* const context_;
  const HttpServerOptions& options_;  // the context's
  HttpHandler* const handler_;        // likewise
  const std::function<void()> on_end_;
  const std::optional<HttpResponse> refusal_;

  boost::beast::flat_buffer buffer_;  // read, and not yet parsed
  bool first_request_ = true;
  // The request that is being answered, its head even after its body was used up.
  HttpRequest request_;
  BodyLease body_lease_;
  AnswerRecord record_;  // of its answer
  bool head_sent_ = false;
  bool is_reported_ = false;
  Clock::time_point request_start_;
  bool keep_alive_ = false;
  bool http_1_0_ = false;
  bool is_head_ = false;  // a HEAD request, whose answer has no body

  boost::asio::steady_timer wake_timer_;  // never expires: its cancellation is the event
  bool woken_ = false;
  bool gone_ = false;                    // the client, or the connection is to be closed
  std::atomic<bool> abandoned_ = false;  // nobody waits for the work that is queued
  bool closing_ = false;                 // no further request is served
  bool reading_ = false;                 // a request
  std::optional<HttpAnswer> answer_;
  // Of work that is queued, and of its thread until it has come.
  struct LongResult {
    std::optional<HttpAnswer> answer;
    std::exception_ptr failure;
    bool has_come = false;
  };
  LongResult long_result_;

  bool watching_ = false;
  bool watch_wanted_ = false;
  boost::asio::cancellation_signal watch_signal_;

  boost::asio::steady_timer deadline_timer_;
  Clock::time_point deadline_ = Clock::time_point::max();
  bool timed_out_ = false;
  bool is_complete_ = false;  // Run() has come to its end
  bool finished_ = false;
};

}  // namespace tessera
