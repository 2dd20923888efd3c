// The whole server in the test's own process, on a free port of the loopback.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "server/api_handler.h"
#include "server/http/http_server.h"
#include "server/protocol/json.h"
#include "server/testing/http_client.h"

namespace tessera::testing {

struct TestServerOptions {
  EngineOptions engine;  // the embedded model, float32, unless changed
  ApiOptions api;
  HttpServerOptions http;
  bool load = true;  // false: the model is never there

  TestServerOptions();
};

inline TestServerOptions Unloaded() {
  TestServerOptions options;
  options.load = false;
  return options;
}

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
  // The value of a line of /metrics that begins with `start`; -1 if there is none.
  double Metric(const std::string& start) const;

 private:
  std::unique_ptr<ApiHandler> handler_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<HttpServer> http_;
};

// A question that the model answers, as it stands in a string of JSON.
inline constexpr const char* kQuestion =
    "Question: Quinn has 27 ribbons. Quinn finds another 18. How many ribbons does Quinn have "
    "now?\\nAnswer:";

// The body of a completion that takes longer than any test waits; `fields` are more of its members.
std::string EndlessBody(const std::string& fields = "");

// The events of a stream, without the [DONE] at its end.
std::vector<Json> EventsOf(const std::string& body);

// Polls until it holds, for two minutes at most.
bool Eventually(const std::function<bool()>& condition);

}  // namespace tessera::testing
