// The page, and what it learns about the engine, over real sockets with the embedded model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "server/protocol/json.h"
#include "server/testing/test_server.h"

namespace tessera::testing {
namespace {

using ::testing::HasSubstr;

Json State(const TestServer& server) {
  const ClientResponse response = server.Get("/engine/state");
  EXPECT_EQ(response.status, 200) << response.body;
  return Json::parse(response.body);
}

int64_t NumBlocks(const Json& state) {
  int64_t blocks = 0;
  for (size_t i = 0; i < state["blocks"].size(); i += 2) blocks += state["blocks"][i].get<int>();
  return blocks;
}

std::string MessageOf(const ClientResponse& response) {
  return Json::parse(response.body)["error"]["message"].get<std::string>();
}

TEST(WebTest, PageAndItsFiles) {
  TestServerOptions options = Unloaded();
  options.api.api_keys = {"secret"};  // the page is for everybody, and asks for the key itself
  TestServer server(options);
  const struct {
    const char* path;
    const char* type;
    const char* holds;
  } kFiles[] = {
      {"/", "text/html", "<title>Tessera</title>"},
      {"/web/index.html", "text/html", "<title>Tessera</title>"},
      {"/web/style.css", "text/css", "prefers-color-scheme"},
      {"/web/main.js", "text/javascript", "import"},
      {"/web/icon.svg", "image/svg+xml", "<svg"},
  };
  for (const auto& file : kFiles) {
    const ClientResponse response = server.Get(file.path);
    EXPECT_EQ(response.status, 200) << file.path;
    EXPECT_THAT(response.head, HasSubstr(std::string("Content-Type: ") + file.type));
    EXPECT_THAT(response.head, HasSubstr("Content-Security-Policy: default-src 'none'"));
    EXPECT_THAT(response.head, HasSubstr("X-Content-Type-Options: nosniff"));
    EXPECT_THAT(response.body, HasSubstr(file.holds));
  }
  for (const char* path : {"/web/", "/web/nothing.js", "/web/../README.md", "/web//style.css"}) {
    EXPECT_EQ(server.Get(path).status, 404) << path;
  }
  EXPECT_EQ(server.Post("/", "{}").status, 405);
  for (const char* path : {"/engine/state", "/engine/events"}) {
    EXPECT_EQ(server.Get(path).status, 401) << path;
    EXPECT_EQ(Ask(server.port(), GetText(path, "Authorization: Bearer secret\r\n")).status, 503);
  }
  EXPECT_EQ(server.Post("/engine/backend", "{}").status, 401);
}

TEST(WebTest, StateFollowsTheEngine) {
  TestServer server;
  const Json before = State(server);
  EXPECT_EQ(NumBlocks(before), before["stats"]["blocks_total"]);
  EXPECT_EQ(before["stats"]["blocks_used"], 0);
  EXPECT_TRUE(before["steps"].empty());
  EXPECT_EQ(before["latency"]["first_token"]["count"], 0);
  ASSERT_EQ(before["attention"].size(), 1u);
  EXPECT_EQ(before["attention"][0]["kind"], "full");
  EXPECT_EQ(before["attention"][0]["layers"], Json({0, 1, 2, 3, 4, 5}));

  // An answer that is seen while it is made: its stream is read and its end not yet.
  HttpClient client(server.port());
  ASSERT_TRUE(client.Send(PostText("/v1/completions", R"({"prompt": "Question: How many?",
      "stream": true, "temperature": 0, "ignore_eos": true, "max_tokens": 1500})")));
  ASSERT_TRUE(client.ReceiveUntil("\"text\""));
  const Json during = State(server);
  ASSERT_EQ(during["requests"].size(), 1u) << during;
  EXPECT_EQ(during["stats"]["running"], 1);
  EXPECT_GE(during["stats"]["blocks_used"], 1);
  EXPECT_EQ(NumBlocks(during), during["stats"]["blocks_total"]);
  EXPECT_EQ(during["blocks"][1], during["requests"][0]["id"]);
  EXPECT_GE(during["requests"][0]["output_tokens"], 1);
  const auto computed = [&] {
    const Json state = State(server);
    return state["requests"].empty() ? -1 : state["requests"][0]["computed_tokens"].get<int>();
  };
  EXPECT_TRUE(Eventually([&] { return computed() >= 16; }));  // a whole block
  client.Close();

  ASSERT_TRUE(Eventually([&] { return State(server)["stats"]["running"] == 0; }));
  const Json after = State(server);
  EXPECT_EQ(after["stats"]["blocks_used"], 0);
  EXPECT_EQ(after["blocks"][1], -1);  // what it has computed can be found again
  EXPECT_EQ(after["latency"]["first_token"]["count"], 1);
  EXPECT_GT(after["steps"].size(), 0u);
  const Json& step = after["steps"].back();
  ASSERT_EQ(step.size(), 7u);
  EXPECT_EQ(step[0], after["stats"]["steps"]);
  EXPECT_EQ(step[3], 1);  // one decode row
  EXPECT_GT(after["seconds"], before["seconds"]);
}

TEST(WebTest, EventsTellWhatChanges) {
  TestServer server;
  HttpClient client(server.port());
  ASSERT_TRUE(client.Send(GetText("/engine/events")));
  ASSERT_TRUE(client.ReceiveUntil("text/event-stream"));
  ASSERT_TRUE(client.ReceiveUntil("\"steps\":0,"));
  const ClientResponse answer =
      server.Post("/v1/completions", R"({"prompt": "Question:", "max_tokens": 5})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(client.ReceiveUntil("\"tokens_generated\":5,"));
  EXPECT_EQ(server.Post("/engine/backend", R"({"kind": 0, "backend": "reference"})").status, 200);
  EXPECT_TRUE(client.ReceiveUntil("\"backend\":\"reference\""));
  client.Abort();
  // Watchers may also stay until the server ends.
  HttpClient other(server.port());
  ASSERT_TRUE(other.Send(GetText("/engine/events")));
  ASSERT_TRUE(other.ReceiveUntil("\"steps\":"));
  EXPECT_EQ(Ask(server.port(),
                "HEAD /engine/events HTTP/1.1\r\nHost: a\r\n"
                "Connection: close\r\n\r\n")
                .status,
            200);
}

TEST(WebTest, BackendsThatCannotServeAreRefused) {
  TestServer server;
  const struct {
    const char* body;
    const char* says;
  } kRefused[] = {
      {R"({"kind": 0, "backend": "nonsense"})", "'nonsense' is unknown"},
      {R"({"kind": 1, "backend": "reference"})", "kind is 1"},
      {R"({"kind": -1, "backend": "reference"})", "kind"},
      {R"({"kind": "full", "backend": "reference"})", "kind"},
      {R"({"kind": 0})", "backend is missing"},
      {R"({"backend": 5})", "backend"},
      {R"({"backend": "portable,portable"})", "portable"},
      {R"([])", ""},
      {R"({"backend": )", ""},
  };
  for (const auto& refused : kRefused) {
    const ClientResponse response = server.Post("/engine/backend", refused.body);
    EXPECT_EQ(response.status, 400) << refused.body;
    EXPECT_THAT(MessageOf(response), HasSubstr(refused.says));
  }
  // As a form of another site's page would send it.
  const ClientResponse plain =
      Ask(server.port(),
          "POST /engine/backend HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n"
          "Content-Length: 23\r\nConnection: close\r\n\r\n{\"backend\": \"reference\"}");
  EXPECT_EQ(plain.status, 400) << plain.body;
  EXPECT_EQ(State(server)["attention"][0]["automatic"], true);
}

// A backend that exists and cannot compute the layers names all its reasons.
TEST(WebTest, RefusalNamesTheReasons) {
  TestServer server;
  const Json attention = State(server)["attention"][0];
  for (const Json& candidate : attention["candidates"]) {
    const ClientResponse response =
        server.Post("/engine/backend", Json({{"backend", candidate["name"]}}).dump());
    if (candidate["usable"].get<bool>()) {
      EXPECT_EQ(response.status, 200) << response.body;
      EXPECT_EQ(State(server)["attention"][0]["backend"], candidate["name"]);
      continue;
    }
    EXPECT_EQ(response.status, 400);
    for (const Json& reason : candidate["reasons"]) {
      EXPECT_THAT(MessageOf(response), HasSubstr(reason.get<std::string>()));
    }
  }
}

// Watchers and switches from several threads, beside answers that must not notice them.
TEST(WebTest, AnswersDoNotNoticeSwitches) {
  TestServer server;
  const std::string body = std::string(R"({"prompt": ")") + kQuestion +
                           R"(", "temperature": 0, "max_tokens": 40, "stop": ["Question:"]})";
  const auto text = [&] {
    return Json::parse(server.Post("/v1/completions", body).body)["choices"][0]["text"];
  };
  const Json expected = text();
  std::vector<std::string> names;
  const Json candidates = State(server)["attention"][0]["candidates"];
  for (const Json& candidate : candidates) {
    if (candidate["usable"].get<bool>()) names.push_back(candidate["name"]);
  }
  ASSERT_GE(names.size(), 2u);

  std::atomic<bool> done{false};
  std::thread watcher([&] {
    while (!done) State(server);
  });
  std::thread switcher([&] {
    for (size_t i = 0; !done; ++i) {
      const Json choice = {{"kind", 0}, {"backend", names[i % names.size()]}};
      EXPECT_EQ(server.Post("/engine/backend", choice.dump()).status, 200);
    }
  });
  for (int i = 0; i < 5; ++i) EXPECT_EQ(text(), expected) << "answer " << i;
  done = true;
  watcher.join();
  switcher.join();
  EXPECT_GT(State(server)["steps"].back()[6], 0);  // switches
}

}  // namespace
}  // namespace tessera::testing
