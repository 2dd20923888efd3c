// From when a request's time counts, and what is reported when it is over.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <variant>

#include "server/protocol/json.h"
#include "server/testing/test_server.h"

namespace tessera::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// The status of a completion whose head came `waited` ago.
int StatusOf(TestServer* server, std::chrono::seconds waited, const std::string& fields) {
  HttpRequest request;
  request.method = "POST";
  request.path = "/v1/completions";
  request.body = R"({"prompt": "x", "max_tokens": 3)" + fields + "}";
  request.arrival -= waited;
  HttpAnswer answer = server->handler().Handle(request, [] {});
  if (const auto* response = std::get_if<HttpResponse>(&answer)) return response->status;
  Exchange* const exchange = std::get<std::unique_ptr<Exchange>>(answer).get();
  int status = 0;
  EXPECT_TRUE(Eventually([&] {
    const Exchange::Output output = exchange->Poll();
    if (output.head) status = output.head->status;
    return output.end;
  }));
  return status;
}

// However long it waited for its body, its prompt and its constraint.
TEST(DeadlineTest, TimeRunsFromTheHead) {
  TestServerOptions options;
  options.engine.request_timeout = 100;
  TestServer server(options);
  using std::chrono::seconds;
  EXPECT_EQ(StatusOf(&server, seconds(50), R"(, "timeout": 90)"), 200);
  EXPECT_EQ(StatusOf(&server, seconds(50), R"(, "timeout": 40)"), 504);
  EXPECT_EQ(StatusOf(&server, seconds(99), R"(, "n": 2, "timeout": 40)"), 504);
  EXPECT_EQ(StatusOf(&server, seconds(101), R"(, "timeout": 900)"), 504);
  EXPECT_EQ(StatusOf(&server, seconds(101), ""), 504);
  EXPECT_GE(server.Metric("tessera:time_to_first_token_seconds_sum"), 50);
  EXPECT_GE(server.Metric("tessera:e2e_request_latency_seconds_sum"), 50 + 50 + 2 * 99 + 101 + 101);
  EXPECT_GE(server.Metric("tessera:request_queue_time_seconds_sum"), 50 + 50 + 2 * 99 + 101 + 101);
}

// What one answer has said is sent, though the time was over before another began.
TEST(DeadlineTest, WhatWasSaidIsTold) {
  TestServerOptions options;
  options.engine.max_running = 1;
  TestServer server(options);
  const std::string fields = R"("n": 2, "timeout": 0.3)";
  const ClientResponse whole = server.Post("/v1/completions", EndlessBody(fields));
  ASSERT_EQ(whole.status, 200) << whole.body;
  const Json choices = Json::parse(whole.body)["choices"];
  ASSERT_EQ(choices.size(), 2u);
  EXPECT_NE(choices[0]["text"], "");
  EXPECT_EQ(choices[1]["text"], "");
  for (const Json& choice : choices) EXPECT_EQ(choice["finish_reason"], "timeout");

  const ClientResponse stream =
      server.Post("/v1/completions", EndlessBody(fields + R"(, "stream": true)"));
  EXPECT_THAT(stream.body, Not(HasSubstr("error")));
  int ended = 0;
  for (const Json& event : EventsOf(stream.body)) {
    for (const Json& choice : event["choices"]) ended += choice["finish_reason"] == "timeout";
  }
  EXPECT_EQ(ended, 2);
}

}  // namespace
}  // namespace tessera::testing
