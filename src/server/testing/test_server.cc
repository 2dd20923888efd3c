#include "server/testing/test_server.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <string_view>
#include <thread>
#include <utility>

#include "base/testing/source_path.h"

namespace tessera::testing {

TestServerOptions::TestServerOptions() {
  engine.model_directory = TinyMathDirectory();
  engine.dtype = DType::kFloat32;
  engine.batch_invariant = true;
  engine.kv_cache_bytes = 64 << 20;
  engine.num_threads = 2;
  api.version = "1.2.3";
  http.port = 0;
}

TestServer::TestServer(const TestServerOptions& options) {
  handler_ = std::make_unique<ApiHandler>(options.api);
  auto http = HttpServer::Start(options.http, handler_.get());
  EXPECT_TRUE(http.ok()) << (http.ok() ? "" : http.error().message);
  http_ = std::move(http).value();
  if (!options.load) return;
  auto engine = Engine::Create(options.engine);
  EXPECT_TRUE(engine.ok()) << (engine.ok() ? "" : engine.error().message);
  engine_ = std::move(engine).value();
  handler_->SetModel(std::make_unique<ServedModel>(
      engine_.get(), std::vector<std::string>{"tiny-math", "other-name"},
      options.engine.model_directory));
}

TestServer::~TestServer() {
  http_->Stop();
  if (engine_ != nullptr) engine_->WaitIdle();
}

ClientResponse TestServer::Post(const std::string& path, const std::string& body) const {
  return Ask(port(), PostText(path, body));
}

ClientResponse TestServer::Get(const std::string& path) const { return Ask(port(), GetText(path)); }

double TestServer::Metric(const std::string& start) const {
  const std::string text = Get("/metrics").body;
  const size_t line = text.find("\n" + start);
  if (line == std::string::npos) return -1;
  return std::strtod(text.c_str() + text.find(' ', line + start.size()), nullptr);
}

std::string EndlessBody(const std::string& fields) {
  return R"({"prompt": "x", "max_tokens": 2000, "ignore_eos": true)" +
         (fields.empty() ? "" : ", " + fields) + "}";
}

std::vector<Json> EventsOf(const std::string& body) {
  std::vector<Json> events;
  for (size_t begin = 0; (begin = body.find("data: {", begin)) != std::string::npos; ++begin) {
    const size_t json = begin + std::string_view("data: ").size();
    events.push_back(Json::parse(body.substr(json, body.find("\n\n", json) - json)));
  }
  return events;
}

bool Eventually(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace tessera::testing
