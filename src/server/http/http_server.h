// An HTTP/1.1 server on a few threads: connections are coroutines, so thousands may be open.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "server/http/http_message.h"
#include "tessera/result.h"

namespace tessera {

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8000;  // 0: any free one
  int threads = 2;
  int64_t max_connections = 10000;  // more are answered with 503 and closed
  uint32_t max_header_bytes = 32 << 10;
  uint64_t max_body_bytes = 32 << 20;
  uint64_t max_body_bytes_in_all = 512 << 20;  // of requests that come in at a time
  // Requests with longer bodies are handled on a thread of their own, so that others do not wait.
  uint64_t long_body_bytes = 32 << 10;
  // Those with still longer ones on another, so that the former do not wait for these.
  uint64_t large_body_bytes = 1 << 20;

  // A client that needs longer is given up.
  std::chrono::milliseconds header_timeout = std::chrono::seconds(30);
  std::chrono::milliseconds idle_timeout = std::chrono::seconds(75);  // between two requests
  // So is one that sends none of its body, or reads none of its answer, for so long, or does so at
  // a lower rate than this once that time is over.
  std::chrono::milliseconds body_timeout = std::chrono::seconds(60);
  std::chrono::milliseconds write_timeout = std::chrono::seconds(60);
  uint64_t min_bytes_per_second = 1024;
};

class HttpServer {
 public:
  // Listens from now on. `handler` outlives the server. kIo if the address cannot be had.
  static Result<std::unique_ptr<HttpServer>> Start(const HttpServerOptions& options,
                                                   HttpHandler* handler);

  // As Stop().
  ~HttpServer();

  // Ends all connections and joins the threads. Answers under way are cut, and have a moment to
  // tell their clients so.
  void Stop();

  uint16_t port() const;
  int64_t num_connections() const;

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera
