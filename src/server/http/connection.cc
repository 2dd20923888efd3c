#include "server/http/connection.h"

#include <algorithm>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>
#include <cstdio>
#include <exception>
#include <new>
#include <utility>

#include "base/until_memory.h"
#include "server/http/http_wire.h"

namespace tessera {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

// What a client may send ahead while its request is being answered: more than one read of Beast's,
// which may have brought the beginning of the next request. Who sends more than this is cut off:
// nothing but reading tells whether a client is still there.
constexpr size_t kMaxReadAhead = 128 << 10;
constexpr size_t kReadSize = 4096;
constexpr size_t kBodyReadSize = 64 << 10;
// How much of an unwanted request is read to let the client see its answer.
constexpr size_t kMaxLinger = 4 << 20;
constexpr auto kLingerTimeout = std::chrono::seconds(2);
// Bounds the memory of clients that read slowly, and has their progress seen in small steps: the
// system tells of free room when about a third of this was read.
constexpr int kSendBuffer = 256 << 10;
constexpr const char* kShuttingDown = "The server is shutting down; the answer is not complete.";

std::string_view View(boost::beast::string_view text) { return {text.data(), text.size()}; }

template <typename Message>
HttpRequest ConvertHead(const Message& message) {
  HttpRequest request;
  request.method = View(message.method_string());
  ReadTarget(View(message.target()), &request);
  for (const auto& field : message) {
    request.headers.emplace_back(LowerCase(View(field.name_string())), View(field.value()));
  }
  return request;
}

}  // namespace

Connection::Connection(Socket socket, ConnectionContext* context, std::function<void()> on_end,
                       std::optional<HttpResponse> refusal)
    : socket_(std::move(socket)),
      context_(context),
      options_(context->options),
      handler_(context->handler),
      on_end_(std::move(on_end)),
      refusal_(std::move(refusal)),
      body_lease_(&context->bodies),
      wake_timer_(socket_.get_executor(), Clock::time_point::max()),
      deadline_timer_(socket_.get_executor(), Clock::time_point::max()) {}

void Connection::Start() {
  asio::co_spawn(socket_.get_executor(), Run(shared_from_this()), asio::detached);
}

Connection::~Connection() {
  if (!finished_) Finish();
}

// What escapes Run() is mostly memory that ran out a second time, as the client was to hear of it.
void Connection::ReportBrokenEnd() noexcept {
  try {
    record_.notes.error_status = 503;
    record_.notes.error = "Memory ran out; the connection was closed.";
    ReportAnswer();
  } catch (const std::exception&) {
    std::fputs("warning: memory ran out; a connection was closed\n", stderr);
  }
}

void Connection::Finish() {
  finished_ = true;
  if (!is_complete_) ReportBrokenEnd();
  answer_.reset();
  deadline_timer_.cancel();
  SystemError ignored;
  socket_.close(ignored);
  on_end_();
}

// Events of other threads: none of them may be lost.
template <typename Function>
void Connection::Post(const Function& function) {
  UntilMemory([&] { asio::post(socket_.get_executor(), function); });
}

void Connection::ShutDown() {
  Post([self = shared_from_this()] {
    self->closing_ = true;
    SystemError ignored;
    if (self->reading_) self->socket_.cancel(ignored);
    self->Wake();
  });
}

void Connection::Close() {
  Post([self = shared_from_this()] {
    SystemError ignored;
    self->socket_.close(ignored);
    self->gone_ = true;
    self->Wake();
  });
}

// `self` keeps the connection alive. If memory runs out as Asio is about to resume a coroutine, it
// is destroyed where it waits.
asio::awaitable<void> Connection::Run(std::shared_ptr<Connection> self) {
  struct AtEnd {
    Connection* connection;
    ~AtEnd() { connection->Finish(); }
  };
  const AtEnd guard{self.get()};
  SystemError ignored;
  self->socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  self->socket_.set_option(asio::socket_base::send_buffer_size(kSendBuffer), ignored);
  self->socket_.non_blocking(true, ignored);
  bool more = true;
  if (const std::optional<HttpResponse>& refusal = self->refusal_) {
    self->ReadPeer();
    self->request_start_ = Clock::now();
    const bool sent = co_await self->Send(*refusal);
    self->gone_ = !sent;
    self->ReportAnswer();
    more = false;
  }
  while (more) {
    self->request_ = {};
    self->record_ = {};
    self->is_reported_ = false;
    self->head_sent_ = false;
    // What a library throws, and memory that has run out, end the request and nothing else.
    std::optional<HeadProblem> failure;
    try {
      more = co_await self->ServeOne();
    } catch (const std::bad_alloc&) {
      failure = {503, "Memory ran out; try again later, or send a smaller request."};
    } catch (const std::exception& error) {
      failure = {500, std::string("The server failed unexpectedly: ") + error.what()};
    }
    if (failure) {
      more = false;
      co_await self->AnswerFailure(*failure);
    }
    self->ReportAnswer();
    self->first_request_ = false;
  }
  if (!self->gone_) co_await self->Linger();
  self->is_complete_ = true;
}

asio::awaitable<bool> Connection::ServeOne() {
  if (closing_) {
    gone_ = true;
    co_return false;
  }
  Parser parser;
  parser.header_limit(options_.max_header_bytes);
  parser.body_limit(options_.max_body_bytes);
  SystemError error;
  SetDeadline(Clock::now() + (first_request_ ? options_.header_timeout : options_.idle_timeout));
  reading_ = true;
  co_await http::async_read_header(socket_, buffer_, parser,
                                   asio::redirect_error(asio::use_awaitable, error));
  reading_ = false;
  ClearDeadline();
  request_start_ = Clock::now();
  if (error) co_return co_await AnswerReadError(error);

  request_ = ConvertHead(parser.get());
  request_.arrival = request_start_;
  ReadPeer();
  keep_alive_ = parser.keep_alive();
  http_1_0_ = parser.get().version() < 11;
  is_head_ = request_.method == "HEAD";
  std::optional<HttpResponse> refusal;
  if (const auto problem = FindHeadProblem(request_, http_1_0_)) {
    refusal = handler_->Refuse(problem->status, problem->message);
  } else {
    refusal = handler_->Screen(request_);
  }
  if (refusal) {
    if (!parser.is_done()) keep_alive_ = false;  // the body stays unread
    const bool sent = co_await Send(*refusal);
    co_return sent&& keep_alive_;
  }
  if (!parser.is_done()) {
    const bool read = co_await ReadBody(&parser);
    if (!read) co_return false;
  }
  request_.body = std::move(parser.get().body());

  co_await Handle();
  if (gone_) co_return false;
  if (!answer_) co_return co_await Refuse(503, kShuttingDown);
  const HttpAnswer answer = std::move(*answer_);
  answer_.reset();
  std::string().swap(request_.body);  // an assignment would keep the memory
  body_lease_.Clear();
  if (const auto* response = std::get_if<HttpResponse>(&answer)) {
    const bool sent = co_await Send(*response);
    co_return sent&& keep_alive_;
  }
  Exchange* const exchange = std::get<std::unique_ptr<Exchange>>(answer).get();
  StartWatching();
  const bool answered = co_await RunExchange(exchange);
  co_await StopWatching();
  record_.notes = exchange->Notes();
  co_return answered && !gone_ && keep_alive_;
}

asio::awaitable<bool> Connection::ReadBody(Parser* parser) {
  if (LowerCase(request_.Header("expect")) == "100-continue") {
    const std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    const bool sent = co_await Write(go_on);
    if (!sent) co_return false;
  }
  parser->eager(true);
  // Beast reads as much at a time as there is room for.
  buffer_.reserve(kBodyReadSize);
  Clock::time_point paid_until = Clock::now() + options_.body_timeout;
  uint64_t received = 0;
  SystemError error;
  while (!parser->is_done()) {
    SetTransferDeadline(options_.body_timeout, received, &paid_until);
    reading_ = true;
    received = co_await http::async_read_some(socket_, buffer_, *parser,
                                              asio::redirect_error(asio::use_awaitable, error));
    reading_ = false;
    ClearDeadline();
    if (error) co_return co_await AnswerReadError(error);
    if (!body_lease_.GrowTo(parser->get().body().size())) {
      std::string().swap(parser->get().body());
      body_lease_.Clear();
      co_return co_await Refuse(503,
                                "The requests that are being sent to this server fill the memory "
                                "that it has for them; try again later.");
    }
  }
  buffer_.shrink_to_fit();
  co_return true;
}

asio::awaitable<bool> Connection::AnswerReadError(SystemError error) {
  int status = 0;
  std::string message;
  const bool has_begun = !request_.method.empty() || buffer_.size() > 0;
  if (closing_) {
    if (has_begun) status = 503;
    message = "The server is shutting down and takes no new requests.";
  } else if (timed_out_) {
    // A connection that was merely idle is closed without a word.
    if (!first_request_ && !has_begun) co_return false;
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
  co_return co_await Refuse(status, message);
}

asio::awaitable<bool> Connection::Refuse(int status, const std::string& message) {
  keep_alive_ = false;
  const HttpResponse response = handler_->Refuse(status, message);
  co_await Send(response);
  co_return false;
}

// Leaves nothing of the request under way, as its coroutine did not come to its end.
asio::awaitable<void> Connection::AnswerFailure(HeadProblem failure) {
  reading_ = false;
  keep_alive_ = false;
  abandoned_ = true;
  answer_.reset();
  body_lease_.Clear();
  ClearDeadline();
  co_await StopWatching();
  if (gone_) co_return;
  if (!head_sent_) {
    co_await Refuse(failure.status, failure.message);
  } else {  // the client sees that the answer has no end
    record_.notes.error_status = failure.status;
    record_.notes.error = std::move(failure.message);
  }
}

asio::awaitable<void> Connection::Handle() {
  const size_t bytes = request_.body.size();
  if (bytes <= options_.long_body_bytes && !handler_->TakesLong(request_)) {
    answer_.emplace(handler_->Handle(request_, Waker()));
    co_return;
  }
  LongWork& work = *context_->long_work;
  TurnQueue& queue = bytes <= options_.large_body_bytes ? work.small : work.large;
  long_result_ = {};
  queue.Post(request_.peer, [self = shared_from_this()] {
    if (!self->abandoned_) self->HandleInTurn();
  });
  StartWatching();
  while (!long_result_.has_come && !gone_ && !closing_) co_await WaitForWake();
  co_await StopWatching();
  if (!long_result_.has_come) {
    // The connection is over before its turn. request_ stays as it is: work that has begun reads
    // it.
    abandoned_ = true;
    co_return;
  }
  if (long_result_.failure != nullptr) std::rethrow_exception(long_result_.failure);
  answer_ = std::move(long_result_.answer);
}

void Connection::HandleInTurn() {
  try {
    long_result_.answer.emplace(handler_->Handle(request_, Waker()));
  } catch (...) {
    long_result_.failure = std::current_exception();
  }
  Post([self = shared_from_this()] {
    self->long_result_.has_come = true;
    self->Wake();
  });
}

asio::awaitable<bool> Connection::RunExchange(Exchange* exchange) {
  bool has_head = false;
  bool chunked = false;
  while (!gone_) {
    Exchange::Output output = closing_ ? exchange->Cut() : exchange->Poll();
    if (closing_) {
      keep_alive_ = false;
      if (!has_head && !output.head) output.head = handler_->Refuse(503, kShuttingDown);
    }
    if (output.head && output.end) {
      output.head->body += output.data;
      const bool sent = co_await Send(*output.head);
      co_return sent;
    }
    std::string text;
    if (output.head) {
      has_head = true;
      chunked = !http_1_0_;
      if (http_1_0_) keep_alive_ = false;  // the end of the connection ends the body
      text = Head(*output.head, chunked);
      output.data.insert(0, output.head->body);
    }
    if (has_head && !output.data.empty()) {
      if (chunked) {
        AppendChunk(output.data, &text);
      } else {
        text += output.data;
      }
    }
    if (output.end && chunked) text += kLastChunk;
    if (!text.empty()) {
      head_sent_ = true;
      const bool written = co_await Write(text);
      if (!written) co_return false;
    }
    if (output.end) {
      record_.is_complete = true;
      co_return true;
    }
    if (text.empty()) co_await WaitForWake();
  }
  co_return false;
}

asio::awaitable<bool> Connection::Send(const HttpResponse& response) {
  std::string text = Head(response, /*chunked=*/false);
  if (!is_head_) text += response.body;
  if (response.status >= 500) record_.failure = response.body;
  head_sent_ = true;
  record_.is_complete = co_await Write(text);
  co_return record_.is_complete;
}

asio::awaitable<bool> Connection::Write(const std::string& text) {
  // Most of what streams send fits into the socket's buffer: it needs neither a wait nor a
  // deadline.
  SystemError error;
  size_t sent = socket_.write_some(asio::buffer(text), error);
  if (error == asio::error::would_block) error.clear();
  Clock::time_point paid_until = Clock::now() + options_.write_timeout;
  uint64_t moved = 0;
  while (!error && sent < text.size()) {
    SetTransferDeadline(options_.write_timeout, moved, &paid_until);
    moved = co_await socket_.async_write_some(asio::buffer(text) + sent,
                                              asio::redirect_error(asio::use_awaitable, error));
    sent += moved;
    ClearDeadline();
  }
  if (error) gone_ = true;
  co_return !error;
}

std::string Connection::Head(const HttpResponse& response, bool chunked) {
  record_.status = response.status;
  return AnswerHead(response, handler_->Sending(request_, response.status),
                    {.keep_alive = keep_alive_, .http_1_0 = http_1_0_, .chunked = chunked});
}

void Connection::ReadPeer() {
  SystemError error;
  const auto peer = socket_.remote_endpoint(error);
  if (!error) request_.peer = peer.address().to_string();
}

void Connection::ReportAnswer() {
  if (is_reported_) return;
  const bool has_failed = record_.notes.error_status != 0;
  if (record_.status == 0 && request_.method.empty() && !has_failed) return;  // no request came
  record_.seconds = std::chrono::duration<double>(Clock::now() - request_start_).count();
  handler_->Answered(request_, record_);
  is_reported_ = true;
}

std::function<void()> Connection::Waker() {
  return [weak = weak_from_this()] {
    const std::shared_ptr<Connection> self = weak.lock();
    if (self == nullptr) return;
    self->Post([self] { self->Wake(); });
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
  if (buffer_.size() >= kMaxReadAhead) {
    gone_ = true;
    return;
  }
  watch_wanted_ = true;
  socket_.async_read_some(
      buffer_.prepare(kReadSize),
      asio::bind_cancellation_slot(watch_signal_.slot(),
                                   [self = shared_from_this()](SystemError error, size_t bytes) {
                                     self->watching_ = false;
                                     self->buffer_.commit(bytes);
                                     if (error && error != asio::error::operation_aborted)
                                       self->gone_ = true;
                                     if (!error && self->watch_wanted_)
                                       UntilMemory([&] { self->StartWatching(); });
                                     if (!self->watching_) self->Wake();
                                   }));
  watching_ = true;  // nothing has thrown
}

asio::awaitable<void> Connection::StopWatching() {
  watch_wanted_ = false;
  if (watching_) watch_signal_.emit(asio::cancellation_type::terminal);
  while (watching_) co_await WaitForWake();
}

// Renewed with every piece, but who sends or reads a few bytes from time to time is not waited for
// endlessly: bytes pay for time at the lowest rate. Not far ahead: who was fast at first may not be
// slow for hours.
void Connection::SetTransferDeadline(std::chrono::milliseconds timeout, uint64_t bytes,
                                     Clock::time_point* paid_until) {
  const Clock::time_point limit = Clock::now() + timeout;
  *paid_until += std::chrono::milliseconds(1000 * bytes / options_.min_bytes_per_second);
  *paid_until = std::min(*paid_until, limit);
  SetDeadline(*paid_until);
}

void Connection::SetDeadline(Clock::time_point deadline) {
  timed_out_ = false;
  deadline_ = deadline;
  // A timer that fires too early waits again; only one that would fire too late is set again.
  if (deadline_timer_.expiry() > deadline_) {
    deadline_timer_.expires_at(deadline_);
    WaitForDeadline();
  }
}

void Connection::WaitForDeadline() {
  // Without it a client could hold the connection for ever.
  UntilMemory([&] {
    deadline_timer_.async_wait([self = shared_from_this()](SystemError error) {
      if (error || self->finished_) return;  // set again, or over
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
  });
}

asio::awaitable<void> Connection::Linger() {
  SystemError error;
  socket_.shutdown(Socket::shutdown_send, error);
  buffer_.clear();
  SetDeadline(Clock::now() + kLingerTimeout);
  size_t total = 0;
  while (!error && !timed_out_ && total < kMaxLinger) {
    total += co_await socket_.async_read_some(buffer_.prepare(kReadSize),
                                              asio::redirect_error(asio::use_awaitable, error));
  }
  ClearDeadline();
}

}  // namespace tessera
