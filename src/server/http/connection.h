// One connection: requests are read, handled and answered one after another.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "server/http/http_message.h"
#include "server/http/http_server.h"

namespace tessera {

// Everything happens on the socket's executor, a strand, but Close() and the wake functions that
// handlers get.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Socket = boost::asio::ip::tcp::socket;

  // `options`, `handler` and `long_work` outlive the connection. `on_end` is called once, at the
  // end of Run().
  Connection(Socket socket, const HttpServerOptions& options, HttpHandler* handler,
             boost::asio::thread_pool* long_work, std::function<void()> on_end);

  // Serves the connection until its end. Called once.
  void Start();

  // Ends it soon. Thread-safe.
  void Close();

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  using SystemError = boost::system::error_code;
  template <typename T>
  using Awaitable = boost::asio::awaitable<T>;
  using Clock = std::chrono::steady_clock;

  Awaitable<void> Run(std::shared_ptr<Connection> self);
  void Finish();
  // Reads and answers one request; false where the connection is over.
  Awaitable<bool> ServeOne();
  Awaitable<bool> AnswerReadError(SystemError error);
  Awaitable<void> Handle(HttpRequest request);  // fills answer_
  HttpAnswer CallHandler(const HttpRequest& request);
  Awaitable<bool> RunExchange(Exchange* exchange);
  Awaitable<bool> Send(const HttpResponse& response);
  Awaitable<bool> Write(const std::string& text);
  Awaitable<void> WaitForWake();
  // Lets the client read the last answer although not all that it sent was read.
  Awaitable<void> Linger();

  std::string Head(const HttpResponse& response, bool chunked) const;
  std::function<void()> Waker();
  void Wake();

  // While an answer is under way, notices that the client goes away.
  void StartWatching();
  Awaitable<void> StopWatching();

  void SetDeadline(std::chrono::milliseconds timeout);
  void ClearDeadline() { deadline_ = Clock::time_point::max(); }
  void WaitForDeadline();

  Socket socket_;
  const HttpServerOptions& options_;
  HttpHandler* const handler_;
  boost::asio::thread_pool* const long_work_;
  const std::function<void()> on_end_;

  boost::beast::flat_buffer buffer_;  // read, and not yet parsed
  bool first_request_ = true;
  bool keep_alive_ = false;  // of the request that is being answered
  bool http_1_0_ = false;    // likewise
  bool is_head_ = false;     // likewise: a HEAD request, whose answer has no body

  boost::asio::steady_timer wake_timer_;  // never expires: its cancellation is the event
  bool woken_ = false;
  bool gone_ = false;  // the client, or the connection is to be closed
  std::optional<HttpAnswer> answer_;

  bool watching_ = false;
  bool watch_wanted_ = false;
  boost::asio::cancellation_signal watch_signal_;

  boost::asio::steady_timer deadline_timer_;
  Clock::time_point deadline_ = Clock::time_point::max();
  bool timed_out_ = false;
  bool finished_ = false;
};

}  // namespace tessera
