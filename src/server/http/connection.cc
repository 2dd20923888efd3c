#include "server/http/connection.h"

#include <algorithm>
#include <array>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>
#include <cctype>
#include <charconv>
#include <exception>
#include <utility>

namespace tessera {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

// What a client may send ahead while its request is being answered.
constexpr size_t kMaxReadAhead = 64 << 10;
constexpr size_t kReadSize = 4096;
// How much of an unwanted request is read to let the client see its answer.
constexpr size_t kMaxLinger = 4 << 20;
constexpr auto kLingerTimeout = std::chrono::seconds(2);

std::string LowerCase(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

std::string_view View(boost::beast::string_view text) { return {text.data(), text.size()}; }

template <typename Message>
HttpRequest ConvertHead(const Message& message) {
  HttpRequest request;
  request.method = View(message.method_string());
  const std::string_view target = View(message.target());
  const size_t query = target.find('?');
  request.path = target.substr(0, query);
  if (query != std::string_view::npos) request.query = target.substr(query + 1);
  for (const auto& field : message) {
    request.headers.emplace_back(LowerCase(View(field.name_string())), View(field.value()));
  }
  return request;
}

// One piece of a body of unknown length.
void AppendChunk(const std::string& data, std::string* out) {
  std::array<char, 16> size;
  const auto end = std::to_chars(size.data(), size.data() + size.size(), data.size(), 16).ptr;
  out->append(size.data(), end);
  out->append("\r\n");
  out->append(data);
  out->append("\r\n");
}

}  // namespace

Connection::Connection(Socket socket, const HttpServerOptions& options, HttpHandler* handler,
                       asio::thread_pool* long_work, std::function<void()> on_end)
    : socket_(std::move(socket)),
      options_(options),
      handler_(handler),
      long_work_(long_work),
      on_end_(std::move(on_end)),
      wake_timer_(socket_.get_executor(), Clock::time_point::max()),
      deadline_timer_(socket_.get_executor(), Clock::time_point::max()) {}

void Connection::Start() {
  asio::co_spawn(socket_.get_executor(), Run(shared_from_this()),
                 [self = shared_from_this()](const std::exception_ptr&) { self->Finish(); });
}

void Connection::Finish() {
  finished_ = true;
  answer_.reset();
  deadline_timer_.cancel();
  SystemError ignored;
  socket_.close(ignored);
  on_end_();
}

void Connection::Close() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    SystemError ignored;
    self->socket_.close(ignored);
    self->gone_ = true;
    self->Wake();
  });
}

// `self` keeps the connection alive.
asio::awaitable<void> Connection::Run(std::shared_ptr<Connection> self) {
  SystemError ignored;
  self->socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  self->socket_.non_blocking(true, ignored);
  bool more = true;
  while (more) {
    more = co_await self->ServeOne();
    self->first_request_ = false;
  }
  if (!self->gone_) co_await self->Linger();
}

asio::awaitable<bool> Connection::ServeOne() {
  Parser parser;
  parser.header_limit(options_.max_header_bytes);
  parser.body_limit(options_.max_body_bytes);
  SystemError error;
  SetDeadline(first_request_ ? options_.header_timeout : options_.idle_timeout);
  co_await http::async_read_header(socket_, buffer_, parser,
                                   asio::redirect_error(asio::use_awaitable, error));
  ClearDeadline();
  if (error) co_return co_await AnswerReadError(error);

  HttpRequest request = ConvertHead(parser.get());
  if (const auto peer = socket_.remote_endpoint(error); !error) {
    request.peer = peer.address().to_string();
  }
  keep_alive_ = parser.keep_alive();
  http_1_0_ = parser.get().version() < 11;
  is_head_ = request.method == "HEAD";
  const std::optional<HttpResponse> refusal = handler_->Screen(request);
  if (refusal) {
    if (!parser.is_done()) keep_alive_ = false;  // the body stays unread
    if (!co_await Send(*refusal)) co_return false;
    co_return keep_alive_;
  }
  if (!parser.is_done()) {
    if (LowerCase(request.Header("expect")) == "100-continue") {
      const std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
      const bool sent = co_await Write(go_on);
      if (!sent) co_return false;
    }
    SetDeadline(options_.body_timeout);
    co_await http::async_read(socket_, buffer_, parser,
                              asio::redirect_error(asio::use_awaitable, error));
    ClearDeadline();
    if (error) co_return co_await AnswerReadError(error);
  }
  request.body = std::move(parser.get().body());

  co_await Handle(std::move(request));
  if (gone_ || !answer_) co_return false;
  const HttpAnswer answer = std::move(*answer_);
  answer_.reset();
  if (const auto* response = std::get_if<HttpResponse>(&answer)) {
    if (!co_await Send(*response)) co_return false;
    co_return keep_alive_;
  }
  StartWatching();
  const bool answered = co_await RunExchange(std::get<std::unique_ptr<Exchange>>(answer).get());
  co_await StopWatching();
  co_return answered && !gone_ && keep_alive_;
}

asio::awaitable<bool> Connection::AnswerReadError(SystemError error) {
  keep_alive_ = false;
  int status = 0;
  std::string message;
  if (timed_out_) {
    // A connection that was merely idle is closed without a word.
    if (!first_request_ && buffer_.size() == 0) co_return false;
    status = 408;
    message = "The request did not arrive in time; send it again.";
  } else if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    status = 431;
    message = "The request's headers are longer than the " +
              std::to_string(options_.max_header_bytes) + " bytes that this server reads.";
  } else if (error == http::error::body_limit) {
    status = 413;
    message = "The request's body is longer than the " + std::to_string(options_.max_body_bytes) +
              " bytes that this server reads (--max-request-size).";
  } else if (error.category() == make_error_code(http::error::bad_method).category() &&
             error != http::error::end_of_stream && error != http::error::partial_message) {
    status = 400;
    message = "This is not an HTTP request: " + error.message() + ".";
  }
  if (status == 0) {
    gone_ = true;
    co_return false;
  }
  const HttpResponse response = handler_->Refuse(status, message);
  co_await Send(response);
  co_return false;
}

asio::awaitable<void> Connection::Handle(HttpRequest request) {
  if (request.body.size() <= options_.long_body_bytes && !handler_->TakesLong(request)) {
    answer_.emplace(CallHandler(request));
    co_return;
  }
  asio::post(*long_work_, [self = shared_from_this(), long_request = std::move(request)] {
    HttpAnswer answer = self->CallHandler(long_request);
    asio::post(self->socket_.get_executor(), [self, done = std::move(answer)]() mutable {
      self->answer_.emplace(std::move(done));
      self->Wake();
    });
  });
  while (!answer_ && !gone_) co_await WaitForWake();
}

// What a library throws, and memory that has run out, end the request and nothing else.
HttpAnswer Connection::CallHandler(const HttpRequest& request) {
  try {
    return handler_->Handle(request, Waker());
  } catch (const std::bad_alloc&) {
    return handler_->Refuse(503, "Memory ran out; try again later, or send a smaller request.");
  } catch (const std::exception& error) {
    return handler_->Refuse(500, std::string("The server failed unexpectedly: ") + error.what());
  }
}

asio::awaitable<bool> Connection::RunExchange(Exchange* exchange) {
  bool has_head = false;
  bool chunked = false;
  while (!gone_) {
    const Exchange::Output output = exchange->Poll();
    std::string text;
    if (output.head && output.end) {
      const bool sent = co_await Send(*output.head);
      co_return sent;
    }
    if (output.head) {
      has_head = true;
      chunked = !http_1_0_;
      if (http_1_0_) keep_alive_ = false;  // the end of the connection ends the body
      text = Head(*output.head, chunked);
    }
    if (has_head && !output.data.empty()) {
      if (chunked) {
        AppendChunk(output.data, &text);
      } else {
        text += output.data;
      }
    }
    if (output.end && chunked) text += "0\r\n\r\n";
    if (!text.empty()) {
      const bool written = co_await Write(text);
      if (!written) co_return false;
    }
    if (output.end) co_return true;
    if (text.empty()) co_await WaitForWake();
  }
  co_return false;
}

asio::awaitable<bool> Connection::Send(const HttpResponse& response) {
  std::string text = Head(response, /*chunked=*/false);
  if (!is_head_) text += response.body;
  const bool written = co_await Write(text);
  co_return written;
}

asio::awaitable<bool> Connection::Write(const std::string& text) {
  // Most of what streams send fits into the socket's buffer: it needs neither a wait nor a
  // deadline.
  SystemError error;
  const size_t sent = socket_.write_some(asio::buffer(text), error);
  if (error == asio::error::would_block) error.clear();
  if (!error && sent < text.size()) {
    SetDeadline(options_.write_timeout);
    co_await asio::async_write(socket_, asio::buffer(text) + sent,
                               asio::redirect_error(asio::use_awaitable, error));
    ClearDeadline();
  }
  if (error) gone_ = true;
  co_return !error;
}

std::string Connection::Head(const HttpResponse& response, bool chunked) const {
  std::string head = "HTTP/1.1 " + std::to_string(response.status) + " " +
                     std::string(HttpReason(response.status)) + "\r\n";
  for (const HttpHeaders& headers : {response.headers, handler_->Sending(response.status)}) {
    for (const auto& [name, value] : headers) {
      head.append(name).append(": ").append(value).append("\r\n");
    }
  }
  if (!response.content_type.empty()) head += "Content-Type: " + response.content_type + "\r\n";
  if (chunked) {
    head += "Transfer-Encoding: chunked\r\n";
  } else if (keep_alive_ || !http_1_0_) {
    head += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
  }
  if (!keep_alive_) {
    head += "Connection: close\r\n";
  } else if (http_1_0_) {
    head += "Connection: keep-alive\r\n";
  }
  return head + "\r\n";
}

std::function<void()> Connection::Waker() {
  return [weak = weak_from_this()] {
    const std::shared_ptr<Connection> self = weak.lock();
    if (self == nullptr) return;
    asio::post(self->socket_.get_executor(), [self] { self->Wake(); });
  };
}

void Connection::Wake() {
  woken_ = true;
  wake_timer_.cancel();
}

asio::awaitable<void> Connection::WaitForWake() {
  SystemError ignored;
  if (!woken_) {
    co_await wake_timer_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  woken_ = false;
}

void Connection::StartWatching() {
  if (buffer_.size() >= kMaxReadAhead) return;
  watching_ = true;
  watch_wanted_ = true;
  socket_.async_read_some(
      buffer_.prepare(kReadSize),
      asio::bind_cancellation_slot(watch_signal_.slot(),
                                   [self = shared_from_this()](SystemError error, size_t bytes) {
                                     self->watching_ = false;
                                     self->buffer_.commit(bytes);
                                     if (error && error != asio::error::operation_aborted)
                                       self->gone_ = true;
                                     if (!error && self->watch_wanted_) self->StartWatching();
                                     if (!self->watching_) self->Wake();
                                   }));
}

asio::awaitable<void> Connection::StopWatching() {
  watch_wanted_ = false;
  if (watching_) watch_signal_.emit(asio::cancellation_type::terminal);
  while (watching_) co_await WaitForWake();
}

void Connection::SetDeadline(std::chrono::milliseconds timeout) {
  timed_out_ = false;
  deadline_ = Clock::now() + timeout;
  // A timer that fires too early waits again; only one that would fire too late is set anew.
  if (deadline_timer_.expiry() > deadline_) {
    deadline_timer_.expires_at(deadline_);
    WaitForDeadline();
  }
}

void Connection::WaitForDeadline() {
  deadline_timer_.async_wait([self = shared_from_this()](SystemError error) {
    if (error || self->finished_) return;  // set anew, or over
    if (Clock::now() < self->deadline_) {
      const bool idle = self->deadline_ == Clock::time_point::max();
      self->deadline_timer_.expires_at(self->deadline_);
      if (!idle) self->WaitForDeadline();
      return;
    }
    self->deadline_timer_.expires_at(Clock::time_point::max());
    self->timed_out_ = true;
    SystemError ignored;
    self->socket_.cancel(ignored);
  });
}

asio::awaitable<void> Connection::Linger() {
  SystemError error;
  socket_.shutdown(Socket::shutdown_send, error);
  buffer_.clear();
  SetDeadline(kLingerTimeout);
  size_t total = 0;
  while (!error && !timed_out_ && total < kMaxLinger) {
    total += co_await socket_.async_read_some(buffer_.prepare(kReadSize),
                                              asio::redirect_error(asio::use_awaitable, error));
  }
  ClearDeadline();
}

}  // namespace tessera
