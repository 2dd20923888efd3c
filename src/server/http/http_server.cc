#include "server/http/http_server.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "server/http/connection.h"

namespace tessera {
namespace {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;
using SystemError = boost::system::error_code;

constexpr auto kAcceptPause = std::chrono::milliseconds(100);
// What answers under way get to tell their clients that the server stops.
constexpr auto kStopTimeout = std::chrono::seconds(1);
// Surplus connections that are told so at a time; more are closed without waiting for their
// requests, which may cost them the answer.
constexpr int64_t kMaxTurnedAway = 256;

}  // namespace

class HttpServer::Impl {
 public:
  Impl(const HttpServerOptions& options, HttpHandler* handler)
      : context_{.options = options,
                 .handler = handler,
                 .long_work = &long_work_,
                 .bodies = BodyBudget(options.max_body_bytes_in_all)},
        io_(options.threads),
        work_(io_.get_executor()),
        strand_(asio::make_strand(io_)) {}

  ~Impl() { Stop(); }

  // On every address that the host's name has, where it has several.
  Status Listen() {
    const HttpServerOptions& options = context_.options;
    SystemError error;
    tcp::resolver resolver(io_);
    const auto found = resolver.resolve(options.host, std::to_string(options.port),
                                        tcp::resolver::numeric_service, error);
    if (error || found.empty()) {
      return InvalidArgument("'" + options.host + "' is no address of this machine: " +
                             error.message() + "; give --host an IP address or a name.");
    }
    port_ = options.port;
    std::vector<tcp::endpoint> endpoints;
    for (const auto& entry : found) {
      if (std::find(endpoints.begin(), endpoints.end(), entry.endpoint()) == endpoints.end()) {
        endpoints.push_back(entry.endpoint());
      }
    }
    for (const tcp::endpoint& endpoint : endpoints) {
      const SystemError failure = ListenOn(endpoint, /*v6_only=*/endpoints.size() > 1);
      if (!failure) continue;
      error = failure;
      if (failure == asio::error::address_in_use) break;
      // Names may have addresses of a family that the machine has not.
    }
    if (error == asio::error::address_in_use || listeners_.empty()) {
      return IoError("cannot listen on " + options.host + " port " + std::to_string(options.port) +
                     ": " + error.message() + "; choose another --port or --host.");
    }
    return {};
  }

  void Start() {
    for (Listener& listener : listeners_) {
      asio::co_spawn(strand_, Accept(&listener), asio::detached);
    }
    for (int i = 0; i < context_.options.threads; ++i) {
      threads_.emplace_back([this] { io_.run(); });
    }
  }

  void Stop() {
    if (threads_.empty()) return;
    long_work_.small.Stop();  // what waits there is not begun any more
    long_work_.large.Stop();
    asio::post(strand_, [this] {
      stopping_ = true;
      SystemError ignored;
      for (Listener& listener : listeners_) {
        listener.acceptor.close(ignored);
        listener.pause.cancel();
      }
      ForEachConnection([](Connection* connection) { connection->ShutDown(); });
    });
    {
      std::unique_lock lock(mutex_);
      all_ended_.wait_for(lock, kStopTimeout, [this] { return connections_.empty(); });
    }
    asio::post(strand_,
               [this] { ForEachConnection([](Connection* connection) { connection->Close(); }); });
    work_.reset();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    long_work_.small.Join();
    long_work_.large.Join();
    // The answer that came too late for its connection ends both.
    io_.restart();
    io_.poll();
  }

  uint16_t port() const { return port_; }

  int64_t num_connections() const {
    const std::lock_guard lock(mutex_);
    return static_cast<int64_t>(connections_.size()) - num_turned_away_;
  }

 private:
  struct Listener {
    tcp::acceptor acceptor;
    asio::steady_timer pause;
  };

  SystemError ListenOn(tcp::endpoint endpoint, bool v6_only) {
    SystemError error;
    endpoint.port(port_);
    Listener listener{tcp::acceptor(strand_), asio::steady_timer(strand_)};
    tcp::acceptor& acceptor = listener.acceptor;
    const auto step = [&error](auto&& action) {
      if (!error) action();
    };
    step([&] { acceptor.open(endpoint.protocol(), error); });
    step([&] { acceptor.set_option(tcp::acceptor::reuse_address(true), error); });
    if (v6_only && endpoint.protocol() == tcp::v6()) {
      step([&] { acceptor.set_option(asio::ip::v6_only(true), error); });
    }
    step([&] { acceptor.bind(endpoint, error); });
    step([&] { acceptor.listen(asio::socket_base::max_listen_connections, error); });
    step([&] { port_ = acceptor.local_endpoint(error).port(); });
    if (!error) listeners_.push_back(std::move(listener));
    return error;
  }

  asio::awaitable<void> Accept(Listener* listener) {
    while (!stopping_) {
      SystemError error;
      tcp::socket socket(asio::make_strand(io_));
      co_await listener->acceptor.async_accept(socket,
                                               asio::redirect_error(asio::use_awaitable, error));
      if (stopping_) break;
      if (!error && TryServe(std::move(socket))) continue;
      // Out of descriptors or memory, mostly: others end meanwhile.
      listener->pause.expires_after(kAcceptPause);
      co_await listener->pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
    }
  }

  // False where there is no memory for the connection, which ends then.
  bool TryServe(tcp::socket socket) {
    const uint64_t number = ++last_number_;
    bool is_surplus = false;
    try {
      std::optional<HttpResponse> refusal;
      std::shared_ptr<Connection> connection;
      {
        const std::lock_guard lock(mutex_);
        const int64_t served = static_cast<int64_t>(connections_.size()) - num_turned_away_;
        is_surplus = served >= context_.options.max_connections;
        if (is_surplus && num_turned_away_ >= kMaxTurnedAway) return true;
        if (is_surplus) {
          refusal = context_.handler->Refuse(
              503,
              "This server has as many connections as it may have; try again later "
              "(--max-connections sets the limit).");
        }
        connection = std::make_shared<Connection>(
            std::move(socket), &context_,
            [this, number, is_surplus] { Remove(number, is_surplus); }, std::move(refusal));
        connections_.emplace(number, connection);
        if (is_surplus) ++num_turned_away_;
      }
      connection->Start();
      return true;
    } catch (const std::bad_alloc&) {
      Remove(number, is_surplus);
      return false;
    }
  }

  void Remove(uint64_t number, bool is_surplus) {
    const std::lock_guard lock(mutex_);
    if (connections_.erase(number) == 0) return;
    if (is_surplus) --num_turned_away_;
    if (connections_.empty()) all_ended_.notify_all();
  }

  template <typename Function>
  void ForEachConnection(Function function) {
    const std::lock_guard lock(mutex_);
    for (const auto& [number, connection] : connections_) {
      if (const auto open = connection.lock()) function(open.get());
    }
  }

  ConnectionContext context_;
  asio::io_context io_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  asio::strand<asio::io_context::executor_type> strand_;  // of the listeners
  LongWork long_work_;                                    // what waits there refers to io_
  std::deque<Listener> listeners_;                        // none moves
  uint16_t port_ = 0;
  bool stopping_ = false;     // of the strand
  uint64_t last_number_ = 0;  // likewise

  mutable std::mutex mutex_;
  std::condition_variable all_ended_;
  std::unordered_map<uint64_t, std::weak_ptr<Connection>> connections_;
  int64_t num_turned_away_ = 0;  // of connections_

  std::vector<std::thread> threads_;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerOptions& options,
                                                      HttpHandler* handler) {
  auto impl = std::make_unique<Impl>(options, handler);
  TESSERA_RETURN_IF_ERROR(impl->Listen());
  impl->Start();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

void HttpServer::Stop() { impl_->Stop(); }
uint16_t HttpServer::port() const { return impl_->port(); }
int64_t HttpServer::num_connections() const { return impl_->num_connections(); }

}  // namespace tessera
