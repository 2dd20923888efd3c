#include "server/http/http_server.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/until_memory.h"
#include "server/http/connection.h"

namespace tessera {
namespace {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;
using SystemError = boost::system::error_code;

constexpr auto kAcceptPause = std::chrono::milliseconds(100);
constexpr auto kShortPause = std::chrono::milliseconds(2);  // of a whole thread
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
        workers_(static_cast<size_t>(options.threads)) {}

  ~Impl() { Stop(); }

  // On every address that the host's name has, if it has several.
  Status Listen() {
    const HttpServerOptions& options = context_.options;
    SystemError error;
    tcp::resolver resolver(acceptors_io());
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
      StartAccepting(&listener);
    }
    for (Worker& worker : workers_) {
      worker.thread = std::thread([&io = worker.io] { Run(&io); });
    }
  }

  void Stop() {
    if (!workers_.front().thread.joinable()) return;
    long_work_.small.Stop();  // what waits there is not begun any more
    long_work_.large.Stop();
    Post([this] {
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
    Post([this] { ForEachConnection([](Connection* connection) { connection->Close(); }); });
    for (Worker& worker : workers_) worker.work.reset();
    for (Worker& worker : workers_) worker.thread.join();
    long_work_.small.Join();
    long_work_.large.Join();
    // The answer that came too late for its connection ends both.
    for (Worker& worker : workers_) {
      worker.io.restart();
      worker.io.poll();
    }
  }

  uint16_t port() const { return port_; }

  int64_t num_connections() const {
    const std::lock_guard lock(mutex_);
    return static_cast<int64_t>(connections_.size()) - num_turned_away_;
  }

 private:
  // A thread with its own events: of two things on it, one comes after the other without a lock. (A
  // strand of Asio's does not survive if memory runs out.)
  struct Worker {
    asio::io_context io{1};
    asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
    std::thread thread;
  };

  // What a connection's step throws outside of its coroutine ends that step, or the connection with
  // it, which says so itself.
  static void Run(asio::io_context* io) {
    for (;;) {
      try {
        io->run();
        return;
      } catch (const std::exception&) {
        std::this_thread::sleep_for(kShortPause);
      }
    }
  }

  asio::io_context& acceptors_io() { return workers_.front().io; }

  template <typename Function>
  void Post(const Function& function) {
    UntilMemory([&] { asio::post(acceptors_io(), function); });
  }

  struct Listener {
    tcp::acceptor acceptor;
    asio::steady_timer pause;
  };

  SystemError ListenOn(tcp::endpoint endpoint, bool v6_only) {
    SystemError error;
    endpoint.port(port_);
    Listener listener{tcp::acceptor(acceptors_io()), asio::steady_timer(acceptors_io())};
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

  void StartAccepting(Listener* listener) {
    UntilMemory([&] { asio::co_spawn(acceptors_io(), Accept(listener), asio::detached); });
  }

  // Listens until the server stops. If memory runs out as Asio is about to resume a coroutine, it
  // is destroyed where it waits, and has to begin again.
  asio::awaitable<void> Accept(Listener* listener) {
    struct BeginAgain {
      Impl* impl;
      Listener* listener;
      ~BeginAgain() {
        if (!impl->stopping_) impl->StartAccepting(listener);
      }
    };
    const BeginAgain guard{this, listener};
    bool pauses = false;
    while (!stopping_) {
      try {
        if (std::exchange(pauses, false)) {
          SystemError ignored;
          listener->pause.expires_after(kAcceptPause);
          co_await listener->pause.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        }
        pauses = !co_await AcceptOne(listener);
      } catch (const std::exception&) {
        pauses = true;
        std::this_thread::sleep_for(kShortPause);  // memory may be short for a timer as well
      }
    }
  }

  // False if there are no descriptors, mostly: others end meanwhile. Throws if there is no memory
  // for the connection, which ends then.
  asio::awaitable<bool> AcceptOne(Listener* listener) {
    SystemError error;
    tcp::socket socket(workers_[last_number_ % workers_.size()].io);  // they take turns
    co_await listener->acceptor.async_accept(socket,
                                             asio::redirect_error(asio::use_awaitable, error));
    if (!error && !stopping_) Serve(std::move(socket));
    co_return !error;
  }

  // If an exception leaves it, the end of the connection forgets its number.
  void Serve(tcp::socket socket) {
    const uint64_t number = ++last_number_;
    int64_t served = 0, turned_away = 0;
    {
      const std::lock_guard lock(mutex_);
      turned_away = num_turned_away_;
      served = static_cast<int64_t>(connections_.size()) - turned_away;
    }
    const bool is_surplus = served >= context_.options.max_connections;
    if (is_surplus && turned_away >= kMaxTurnedAway) return;
    std::optional<HttpResponse> refusal;
    if (is_surplus) {
      refusal = context_.handler->Refuse(
          503,
          "This server has as many connections as it may have; try again later "
          "(--max-connections sets the limit).");
    }
    const auto connection = std::make_shared<Connection>(
        std::move(socket), &context_, [this, number, is_surplus] { Remove(number, is_surplus); },
        std::move(refusal));
    {
      const std::lock_guard lock(mutex_);
      connections_.emplace(number, connection);
      if (is_surplus) ++num_turned_away_;
    }
    connection->Start();
  }

  void Remove(uint64_t number, bool is_surplus) {
    const std::lock_guard lock(mutex_);
    if (connections_.erase(number) == 0) return;
    if (is_surplus) --num_turned_away_;
    if (connections_.empty()) all_ended_.notify_all();
  }

  template <typename Function>
  void ForEachConnection(Function function) {
    std::vector<std::shared_ptr<Connection>> open;  // the end of the last one takes the lock
    UntilMemory([&] {
      const std::lock_guard lock(mutex_);
      open.reserve(connections_.size());
      for (const auto& [number, connection] : connections_) open.push_back(connection.lock());
    });
    for (const auto& connection : open) {
      if (connection != nullptr) function(connection.get());
    }
  }

  mutable std::mutex mutex_;
  std::condition_variable all_ended_;
  std::unordered_map<uint64_t, std::weak_ptr<Connection>> connections_;
  int64_t num_turned_away_ = 0;  // of connections_

  ConnectionContext context_;
  std::deque<Worker> workers_;      // the first one listens; with connections, which use all above
  LongWork long_work_;              // what waits there refers to workers_
  std::deque<Listener> listeners_;  // none moves
  uint16_t port_ = 0;
  bool stopping_ = false;     // of the first worker
  uint64_t last_number_ = 0;  // likewise
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
