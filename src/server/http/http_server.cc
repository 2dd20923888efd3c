#include "server/http/http_server.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <mutex>
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

}  // namespace

class HttpServer::Impl {
 public:
  Impl(const HttpServerOptions& options, HttpHandler* handler)
      : options_(options),
        handler_(handler),
        context_(options.threads),
        work_(context_.get_executor()),
        strand_(asio::make_strand(context_)),
        acceptor_(strand_),
        pause_(strand_) {}

  ~Impl() { Stop(); }

  Status Listen() {
    const std::string where = options_.host + " port " + std::to_string(options_.port);
    SystemError error;
    tcp::resolver resolver(context_);
    const auto found = resolver.resolve(options_.host, std::to_string(options_.port),
                                        tcp::resolver::numeric_service, error);
    if (error || found.empty()) {
      return InvalidArgument("'" + options_.host + "' is no address of this machine: " +
                             error.message() + "; give --host an IP address or a name.");
    }
    const tcp::endpoint endpoint = found.begin()->endpoint();
    const auto step = [&error](auto&& action) {
      if (!error) action();
    };
    step([&] { acceptor_.open(endpoint.protocol(), error); });
    step([&] { acceptor_.set_option(tcp::acceptor::reuse_address(true), error); });
    step([&] { acceptor_.bind(endpoint, error); });
    step([&] { acceptor_.listen(asio::socket_base::max_listen_connections, error); });
    step([&] { port_ = acceptor_.local_endpoint(error).port(); });
    if (error) {
      return IoError("cannot listen on " + where + ": " + error.message() +
                     "; choose another --port or --host.");
    }
    return {};
  }

  void Start() {
    asio::co_spawn(strand_, Accept(), asio::detached);
    for (int i = 0; i < options_.threads; ++i) {
      threads_.emplace_back([this] { context_.run(); });
    }
  }

  void Stop() {
    if (threads_.empty()) return;
    asio::post(strand_, [this] {
      stopping_ = true;
      SystemError ignored;
      acceptor_.close(ignored);
      pause_.cancel();
      const std::lock_guard lock(mutex_);
      for (const auto& [number, connection] : connections_) {
        if (const auto open = connection.lock()) open->Close();
      }
    });
    work_.reset();
    long_work_.stop();  // what waits there is not begun any more
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    long_work_.join();
    // The answer that came too late for its connection ends both.
    context_.restart();
    context_.poll();
  }

  uint16_t port() const { return port_; }

  int64_t num_connections() const {
    const std::lock_guard lock(mutex_);
    return static_cast<int64_t>(connections_.size());
  }

 private:
  asio::awaitable<void> Accept() {
    while (!stopping_) {
      SystemError error;
      tcp::socket socket(asio::make_strand(context_));
      co_await acceptor_.async_accept(socket, asio::redirect_error(asio::use_awaitable, error));
      if (stopping_) break;
      if (!error) {
        Serve(std::move(socket));
        continue;
      }
      // Out of descriptors, mostly: others end meanwhile.
      pause_.expires_after(kAcceptPause);
      co_await pause_.async_wait(asio::redirect_error(asio::use_awaitable, error));
    }
  }

  void Serve(tcp::socket socket) {
    if (num_connections() >= options_.max_connections) {
      const std::string text =
          "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\n"
          "Connection: close\r\n\r\n";
      SystemError ignored;
      socket.non_blocking(true, ignored);
      socket.write_some(asio::buffer(text), ignored);
      return;
    }
    const uint64_t number = ++last_number_;
    auto connection = std::make_shared<Connection>(std::move(socket), options_, handler_,
                                                   &long_work_, [this, number] { Remove(number); });
    {
      const std::lock_guard lock(mutex_);
      connections_.emplace(number, connection);
    }
    connection->Start();
  }

  void Remove(uint64_t number) {
    const std::lock_guard lock(mutex_);
    connections_.erase(number);
  }

  const HttpServerOptions options_;
  HttpHandler* const handler_;
  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  asio::strand<asio::io_context::executor_type> strand_;  // of the acceptor
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  asio::thread_pool long_work_{1};
  uint16_t port_ = 0;
  bool stopping_ = false;     // of the strand
  uint64_t last_number_ = 0;  // likewise

  mutable std::mutex mutex_;
  std::unordered_map<uint64_t, std::weak_ptr<Connection>> connections_;

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
