// Clients that vanish, dawdle or talk nonsense.
#include "server/http/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "server/testing/test_server.h"

namespace tessera::testing {
namespace {

using ::testing::HasSubstr;

bool Idle(TestServer* server) {
  const EngineStats stats = server->engine().stats();
  return stats.running + stats.waiting == 0 && stats.blocks_used == 0;
}

TEST(HttpServerTest, VanishedClientsCancelTheirRequests) {
  TestServer server;
  for (const bool stream : {true, false}) {
    for (const bool reset : {true, false}) {
      SCOPED_TRACE(std::string(stream ? "stream" : "whole") + (reset ? ", reset" : ", closed"));
      HttpClient client(server.port());
      client.Send(
          PostText("/v1/completions", EndlessBody(stream ? R"("stream": true)" : R"("n": 2)")));
      if (stream) {
        ASSERT_TRUE(client.ReceiveUntil("data: "));
      } else {
        ASSERT_TRUE(Eventually([&] { return server.engine().stats().running == 2; }));
      }
      reset ? client.Abort() : client.Close();
      EXPECT_TRUE(Eventually([&] { return Idle(&server); }));
    }
  }
  EXPECT_EQ(server.Metric("tessera:request_success_total{model_name=\"tiny-math\","
                          "finished_reason=\"abort\"}"),
            6);
}

TEST(HttpServerTest, TooManyWaitingRequestsAreRefused) {
  TestServerOptions options;
  options.engine.max_running = 1;
  options.api.max_queued_requests = 1;
  TestServer server(options);
  HttpClient running(server.port());
  running.Send(PostText("/v1/completions", EndlessBody(R"("stream": true)")));
  ASSERT_TRUE(running.ReceiveUntil("data: "));
  ASSERT_TRUE(Eventually([&] { return server.engine().stats().waiting == 0; }));
  HttpClient waiting(server.port());
  waiting.Send(PostText("/v1/completions", EndlessBody()));
  ASSERT_TRUE(Eventually([&] { return server.engine().stats().waiting == 1; }));
  const ClientResponse refused = server.Post("/v1/completions", EndlessBody());
  EXPECT_EQ(refused.status, 429);
  EXPECT_THAT(refused.head, HasSubstr("Retry-After: 1"));
  EXPECT_THAT(refused.body, HasSubstr("rate_limit_error"));
  waiting.Close();
  EXPECT_TRUE(Eventually([&] { return server.engine().stats().waiting == 0; }));
  running.Close();
  EXPECT_EQ(server.Post("/v1/completions", R"({"prompt": "x", "max_tokens": 1})").status, 200);
}

TEST(HttpServerTest, ConnectionsAreKeptAndPipelined) {
  TestServer server(Unloaded());
  HttpClient client(server.port());
  client.Send(GetText("/version") + GetText("/health") + GetText("/nowhere"));
  EXPECT_EQ(client.Receive().status, 200);
  EXPECT_EQ(client.Receive().status, 503);
  EXPECT_EQ(client.Receive().status, 404);
  client.Send(GetText("/version", "Connection: close\r\n"));
  const ClientResponse last = client.Receive();
  EXPECT_EQ(last.status, 200);
  EXPECT_THAT(last.head, HasSubstr("Connection: close"));
  EXPECT_TRUE(client.IsClosedByServer());

  const ClientResponse old = Ask(server.port(), "GET /version HTTP/1.0\r\n\r\n");
  EXPECT_EQ(old.status, 200);
  EXPECT_THAT(old.head, HasSubstr("Connection: close"));
  HttpClient head(server.port());
  head.Send("HEAD /version HTTP/1.1\r\nHost: x\r\n\r\n" + GetText("/version"));
  EXPECT_TRUE(head.ReceiveUntil("\r\n\r\nHTTP/1.1 200 OK")) << "no body after the first head";
}

// A request that arrives while an answer is under way waits for its turn.
TEST(HttpServerTest, PipelinedBehindAStream) {
  TestServer server;
  HttpClient client(server.port());
  client.Send(PostText("/v1/completions", R"({"prompt": "x", "max_tokens": 50, "stream": true})"));
  client.Send(GetText("/version"));
  const std::string late = GetText("/nowhere");
  client.Send(late.substr(0, 10));
  const ClientResponse stream = client.Receive();
  EXPECT_EQ(stream.status, 200);
  EXPECT_THAT(stream.body, ::testing::EndsWith("data: [DONE]\n\n"));
  EXPECT_EQ(client.Receive().status, 200);
  client.Send(late.substr(10));
  EXPECT_EQ(client.Receive().status, 404);
}

TEST(HttpServerTest, OldClientsGetStreamsWithoutChunks) {
  TestServer server;
  HttpClient client(server.port());
  const std::string body = R"({"prompt": "x", "max_tokens": 3, "stream": true})";
  client.Send("POST /v1/completions HTTP/1.0\r\nContent-Length: " + std::to_string(body.size()) +
              "\r\n\r\n" + body);
  EXPECT_TRUE(client.ReceiveUntil("data: [DONE]\n\n"));
  EXPECT_TRUE(client.IsClosedByServer());
}

TEST(HttpServerTest, ExpectsAreAnswered) {
  TestServer server(Unloaded());
  HttpClient client(server.port());
  const std::string request =
      PostText("/v1/completions", R"({"prompt": "x"})", "Expect: 100-continue\r\n");
  const size_t body = request.find("\r\n\r\n") + 4;
  client.Send(request.substr(0, body));
  EXPECT_TRUE(client.ReceiveUntil("HTTP/1.1 100 Continue\r\n\r\n"));
  client.Send(request.substr(body));
  EXPECT_EQ(client.Receive().status, 503);
}

TEST(HttpServerTest, NonsenseIsRefused) {
  TestServerOptions options = Unloaded();
  options.http.max_header_bytes = 4096;
  options.http.max_body_bytes = 100000;
  TestServer server(options);
  std::string many;
  for (int i = 0; i < 10000; ++i) many += "X-" + std::to_string(i) + ": y\r\n";
  const std::string huge = "GET /" + std::string(1 << 20, 'a');
  struct Case {
    std::string bytes;
    int status;
  };
  for (const Case& c : {
           Case{"hello\r\n\r\n", 400},
           Case{std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + "\r\n\r\n", 400},
           Case{"GET / HTTP/9.9\r\n\r\n", 400},
           Case{"GET /\x01 HTTP/1.1\r\n\r\n", 400},
           Case{"POST /tokenize HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400},
           Case{"POST /tokenize HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
           Case{"POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                400},
           Case{"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n", 413},
           Case{"POST /tokenize HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
           Case{GetText("/version", many), 431},
           Case{huge, 431},
       }) {
    SCOPED_TRACE(c.bytes.substr(0, 60));
    HttpClient client(server.port());
    client.Send(c.bytes);
    EXPECT_EQ(client.Receive().status, c.status);
    EXPECT_TRUE(client.IsClosedByServer());
  }
  EXPECT_EQ(server.Get("/version").status, 200);
  EXPECT_TRUE(Eventually([&] { return server.http().num_connections() == 0; }));
}

TEST(HttpServerTest, ChunkedRequestsAreRead) {
  TestServer server(Unloaded());
  EXPECT_EQ(Ask(server.port(),
                "POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                "5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n")
                .status,
            503);
}

TEST(HttpServerTest, DawdlersAreGivenUp) {
  TestServerOptions options = Unloaded();
  options.http.header_timeout = options.http.body_timeout = std::chrono::milliseconds(300);
  options.http.idle_timeout = std::chrono::milliseconds(300);
  TestServer server(options);
  HttpClient silent(server.port());
  HttpClient half_head(server.port());
  half_head.Send("POST /v1/comp");
  HttpClient half_body(server.port());
  half_body.Send(
      "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"prompt\":");
  HttpClient idle(server.port());
  idle.Send(GetText("/version"));
  EXPECT_EQ(idle.Receive().status, 200);
  EXPECT_EQ(half_head.Receive().status, 408);
  EXPECT_EQ(half_body.Receive().status, 408);
  EXPECT_EQ(silent.Receive().status, 408);
  EXPECT_TRUE(half_head.IsClosedByServer());
  EXPECT_TRUE(half_body.IsClosedByServer());
  EXPECT_TRUE(silent.IsClosedByServer());
  EXPECT_TRUE(idle.IsClosedByServer());
  EXPECT_TRUE(Eventually([&] { return server.http().num_connections() == 0; }));
}

// Longer than the sockets' buffers; the client never reads.
TEST(HttpServerTest, ClientsThatDoNotReadAreGivenUp) {
  TestServerOptions options;
  options.http.write_timeout = std::chrono::milliseconds(300);
  TestServer server(options);
  HttpClient client(server.port());
  client.Send(PostText("/v1/completions",
                       EndlessBody(R"("stream": true, "n": 16, "logprobs": 20, "seed": 1)")));
  ASSERT_TRUE(Eventually([&] { return server.engine().stats().running == 16; }));
  EXPECT_TRUE(Eventually([&] { return Idle(&server); }));
  EXPECT_GT(server.Metric("tessera:request_success_total{model_name=\"tiny-math\","
                          "finished_reason=\"abort\"}"),
            0);
}

TEST(HttpServerTest, SurplusConnectionsAreTurnedAway) {
  TestServerOptions options = Unloaded();
  options.http.max_connections = 2;
  TestServer server(options);
  HttpClient first(server.port());
  HttpClient second(server.port());
  ASSERT_TRUE(Eventually([&] { return server.http().num_connections() == 2; }));
  HttpClient third(server.port());
  const ClientResponse surplus = third.Receive();
  EXPECT_EQ(surplus.status, 503);
  EXPECT_THAT(surplus.head, HasSubstr("Retry-After: 1"));
  EXPECT_THAT(surplus.body, HasSubstr("service_unavailable_error"));
  EXPECT_EQ(server.http().num_connections(), 2);
  first.Close();
  EXPECT_TRUE(Eventually([&] { return server.Get("/version").status == 200; }));
}

TEST(HttpServerTest, HundredsOfStreamsAtATime) {
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  TestServer server;
  constexpr size_t kStreams = 800;
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (size_t i = 0; i < kStreams; ++i) {
    clients.push_back(std::make_unique<HttpClient>(server.port()));
    ASSERT_TRUE(clients.back()->connected());
    clients.back()->Send(
        PostText("/v1/completions", R"({"prompt": "x", "max_tokens": 4, "stream": true})"));
  }
  for (const auto& client : clients) {
    const ClientResponse response = client->Receive();
    ASSERT_EQ(response.status, 200);
    ASSERT_THAT(response.body, ::testing::EndsWith("data: [DONE]\n\n"));
  }
  EXPECT_EQ(server.http().num_connections(), static_cast<int64_t>(kStreams));
}

TEST(HttpServerTest, StopEndsStreamsUnderWay) {
  TestServer server;
  HttpClient client(server.port());
  client.Send(PostText("/v1/completions", EndlessBody(R"("stream": true)")));
  ASSERT_TRUE(client.ReceiveUntil("data: "));
  HttpClient idle(server.port());
  HttpClient whole(server.port());
  whole.Send(PostText("/v1/completions", EndlessBody()));
  ASSERT_TRUE(Eventually([&] { return server.engine().stats().running == 2; }));
  server.http().Stop();
  EXPECT_TRUE(Eventually([&] { return Idle(&server); }));
  EXPECT_TRUE(client.ReceiveUntil("\"The server is shutting down"));
  EXPECT_TRUE(client.ReceiveUntil("data: [DONE]\n\n\r\n0\r\n\r\n"));
  EXPECT_TRUE(client.IsClosedByServer());
  EXPECT_EQ(whole.Receive().status, 503);
}

// Each request takes its time on the thread for long work.
class SlowHandler : public HttpHandler {
 public:
  std::optional<HttpResponse> Screen(const HttpRequest& /*head*/) override { return std::nullopt; }
  HttpAnswer Handle(const HttpRequest& /*request*/, std::function<void()> /*wake*/) override {
    ++begun;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    return HttpResponse();
  }
  bool TakesLong(const HttpRequest& /*request*/) override { return true; }
  HttpHeaders Sending(const HttpRequest& /*head*/, int /*status*/) override { return {}; }
  HttpResponse Refuse(int /*status*/, const std::string& /*message*/) override { return {}; }

  std::atomic<int> begun = 0;
};

TEST(HttpServerTest, StopWaitsForNoMoreThanTheWorkThatHasBegun) {
  SlowHandler handler;
  HttpServerOptions options;
  options.port = 0;
  auto server = HttpServer::Start(options, &handler);
  ASSERT_TRUE(server.ok()) << server.error().message;
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 30; ++i) {
    clients.push_back(std::make_unique<HttpClient>((*server)->port()));
    clients.back()->Send(PostText("/v1/completions", "{}"));
  }
  ASSERT_TRUE(Eventually([&] { return handler.begun > 0; }));
  const auto start = std::chrono::steady_clock::now();
  (*server)->Stop();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(4));
  EXPECT_LT(handler.begun, 12);
  EXPECT_EQ((*server)->num_connections(), 0);
}

TEST(HttpServerTest, TakenAndWrongAddresses) {
  TestServer server(Unloaded());
  HttpServerOptions options;
  options.port = server.port();
  const auto taken = HttpServer::Start(options, &server.handler());
  ASSERT_FALSE(taken.ok());
  EXPECT_EQ(taken.error().code, ErrorCode::kIo);
  EXPECT_THAT(taken.error().message, HasSubstr("--port"));
  options.host = "no such host";
  const auto wrong = HttpServer::Start(options, &server.handler());
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace tessera::testing
