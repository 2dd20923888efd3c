// The whole server in the test's own process, on a free port of the loopback.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/engine.h"
#include "server/api_handler.h"
#include "server/http/http_server.h"
#include "server/testing/http_client.h"

namespace tessera::testing {

struct TestServerOptions {
  EngineOptions engine;  // the embedded model, float32, unless changed
  ApiOptions api;
  HttpServerOptions http;
  bool load = true;  // false: the model is never there

  TestServerOptions();
};

class TestServer {
 public:
  explicit TestServer(const TestServerOptions& options = {});
  ~TestServer();

  uint16_t port() const { return http_->port(); }
  Engine& engine() { return *engine_; }
  ApiHandler& handler() { return *handler_; }
  HttpServer& http() { return *http_; }

  ClientResponse Post(const std::string& path, const std::string& body) const;
  ClientResponse Get(const std::string& path) const;
  // The value of a line of /metrics that begins with `start`; -1 where there is none.
  double Metric(const std::string& start) const;

 private:
  std::unique_ptr<ApiHandler> handler_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<HttpServer> http_;
};

// Polls until it holds, for two minutes at most.
bool Eventually(const std::function<bool()>& condition);

}  // namespace tessera::testing
