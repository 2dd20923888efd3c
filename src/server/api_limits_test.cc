// What clients may not do to each other, and what is reported of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "server/protocol/json.h"
#include "server/testing/test_server.h"

namespace tessera::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string EndlessAnswers(const std::string& user, int n) {
  return EndlessBody(R"("user": ")" + user + R"(", "n": )" + std::to_string(n));
}

TEST(ApiLimitsTest, OneClientCannotLockTheOthersOut) {
  TestServerOptions options;
  options.engine.max_running = 1;
  options.api.max_queued_requests = 8;
  TestServer server(options);
  const ClientResponse vast = server.Post("/v1/completions", EndlessAnswers("hog", 5));
  EXPECT_EQ(vast.status, 400);
  EXPECT_THAT(vast.body, HasSubstr("asks for 5 answers"));
  HttpClient hog(server.port());
  hog.Send(PostText("/v1/completions", EndlessAnswers("hog", 4)));
  ASSERT_TRUE(Eventually([&] { return server.engine().stats().waiting == 3; }));
  const ClientResponse refused = server.Post("/v1/completions", EndlessAnswers("hog", 4));
  EXPECT_EQ(refused.status, 429);
  EXPECT_THAT(refused.body, HasSubstr("This client has 3 answers waiting"));
  HttpClient vip(server.port());
  vip.Send(PostText("/v1/completions",
                    R"({"prompt": "x", "max_tokens": 1, "user": "vip", "priority": -100})"));
  EXPECT_TRUE(Eventually([&] { return server.engine().stats().waiting > 0; }));
  hog.Close();
  EXPECT_EQ(vip.Receive().status, 200);
  EXPECT_TRUE(Eventually([&] {
    return server.Post("/v1/completions", R"({"prompt": "x", "max_tokens": 1, "user": "hog"})")
               .status == 200;
  })) << "places of cancelled answers are free again";
}

TEST(ApiLimitsTest, AKeyIsOneClientHoweverItIsSent) {
  TestServerOptions options;
  options.engine.max_running = 1;
  options.api.max_queued_requests = 8;
  options.api.api_keys = {"first", "second"};
  TestServer server(options);
  const auto text = [](const std::string& key, int n) {
    return PostText("/v1/completions", EndlessAnswers(key, n), "Authorization: " + key + "\r\n");
  };
  HttpClient hog(server.port());
  hog.Send(text("Bearer first", 4));
  ASSERT_TRUE(Eventually([&] { return server.engine().stats().waiting == 3; }));
  EXPECT_EQ(Ask(server.port(), text("bearer first", 2)).status, 429);
  HttpClient other(server.port());
  other.Send(text("bearer second", 2));
  EXPECT_TRUE(Eventually([&] { return server.engine().stats().waiting == 5; }));
}

TEST(ApiLimitsTest, TextsAreTokenizedUpToALimit) {
  TestServer server;
  const auto prompt = [](size_t bytes) {
    return R"({"prompt": ")" + std::string(bytes, ' ') + "\"}";
  };
  EXPECT_EQ(server.Post("/tokenize", prompt(1 << 20)).status, 200);
  const ClientResponse refused = server.Post("/tokenize", prompt((1 << 20) + 1));
  EXPECT_EQ(refused.status, 413);
  EXPECT_THAT(refused.body, HasSubstr("1048576"));
  EXPECT_EQ(server
                .Post("/tokenize", R"({"messages": [{"role": "user", "content": ")" +
                                       std::string(1 << 20, 'a') + "\"}]}")
                .status,
            413);
  std::string tokens = "5";
  for (int i = 0; i < 1 << 20; ++i) tokens += ",5";
  EXPECT_EQ(server.Post("/detokenize", R"({"tokens": [)" + tokens + "]}").status, 413);
}

TEST(ApiLimitsTest, LogProbabilitiesFitIntoMemory) {
  TestServer server;
  const ClientResponse refused = server.Post(
      "/v1/completions", R"({"prompt": "x", "n": 64, "max_tokens": 2000, "logprobs": 20})");
  EXPECT_EQ(refused.status, 400);
  EXPECT_THAT(refused.body, HasSubstr("log probabilities"));
  EXPECT_EQ(
      server.Post("/v1/completions", R"({"prompt": "x", "max_tokens": 9, "logprobs": 20})").status,
      200);
}

// Beside many others the tokens of a stream share events; the first one and the end wait for
// nothing.
TEST(ApiLimitsTest, ManyStreamsHaveFewerEvents) {
  for (const bool crowded : {false, true}) {
    SCOPED_TRACE(crowded);
    TestServerOptions options;
    options.api.stream_gap = std::chrono::hours(1);
    TestServer server(options);
    std::vector<std::unique_ptr<HttpClient>> others;
    for (int i = 0; i < (crowded ? 66 : 3); ++i) {
      others.push_back(std::make_unique<HttpClient>(server.port()));
      others.back()->Send(PostText("/v1/completions", EndlessBody(R"("stream": true)")));
      ASSERT_TRUE(others.back()->ReceiveUntil("data: ")) << "the first token";
    }
    const ClientResponse stream =
        server.Post("/v1/completions",
                    R"({"prompt": "Ada", "max_tokens": 20, "ignore_eos": true, "stream": true})");
    const size_t events = EventsOf(stream.body).size();
    if (crowded) {
      EXPECT_LE(events, 3u);
    } else {
      EXPECT_GT(events, 3u) << "how many share one depends on how fast they are read";
    }
  }
}

TEST(ApiLimitsTest, OriginsOfPages) {
  TestServerOptions options = Unloaded();
  options.api.cors_origins = {"https://a.example", "https://b.example"};
  TestServer server(options);
  const auto preflight = [&](const std::string& origin) {
    return Ask(server.port(),
               "OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: x\r\nOrigin: " + origin +
                   "\r\nAccess-Control-Request-Method: POST\r\n"
                   "Access-Control-Request-Headers: authorization,x-stainless-os\r\n"
                   "\r\n");
  };
  for (const char* origin : {"https://a.example", "https://b.example"}) {
    const ClientResponse allowed = preflight(origin);
    EXPECT_EQ(allowed.status, 204);
    EXPECT_THAT(allowed.head,
                HasSubstr("Access-Control-Allow-Headers: authorization,x-stainless-os\r\n"));
    EXPECT_THAT(allowed.head, HasSubstr(std::string("Allow-Origin: ") + origin + "\r\n"));
    EXPECT_THAT(allowed.head, HasSubstr("Vary: Origin\r\n"));
  }
  EXPECT_THAT(preflight("https://c.example").head, Not(HasSubstr("Access-Control-Allow")));
  TestServerOptions open = Unloaded();
  open.api.cors_origins = {"*"};
  TestServer any(open);
  EXPECT_THAT(any.Get("/version").head, HasSubstr("Access-Control-Allow-Origin: *\r\n"));
}

TEST(ApiLimitsTest, NamesInPaths) {
  TestServerOptions options;
  options.api.api_keys = {"key"};
  TestServer server(options);
  const auto get = [&](const std::string& path) {
    return Ask(server.port(), GetText(path, "Authorization: bEARER key\r\n"));
  };
  EXPECT_EQ(Json::parse(get("/v1/models/other%2Dname").body)["id"], "other-name");
  EXPECT_EQ(get("/v1/models/no%2Fsuch").status, 404);
  EXPECT_THAT(get("/v1/models/no%2Fsuch").body, HasSubstr("'no/such'"));
  EXPECT_EQ(Json::parse(get("/v1/models/").body)["object"], "list");
  EXPECT_EQ(get("http://there/v1/models").status, 200);
}

TEST(ApiLimitsTest, RequestsAreLogged) {
  std::mutex mutex;
  std::vector<std::string> lines;
  TestServerOptions options;
  options.api.log_requests = true;
  options.api.log = [&](const std::string& line) {
    const std::lock_guard lock(mutex);
    lines.push_back(line);
  };
  TestServer server(options);
  const auto await_line = [&](size_t number) {
    EXPECT_TRUE(Eventually([&] {
      const std::lock_guard lock(mutex);
      return lines.size() > number;
    }));
    const std::lock_guard lock(mutex);
    return number < lines.size() ? lines[number] : "";
  };
  const std::string body = R"({"prompt": [5, 6, 7], "max_tokens": 4, "ignore_eos": true)";
  server.Post("/v1/completions", body + "}");
  EXPECT_THAT(await_line(0), ::testing::MatchesRegex(
                                 "POST /v1/completions 200 .* ms 3\\+4 tokens 127\\.0\\.0\\.1"));
  server.Post("/v1/completions", body + R"(, "n": 2, "stream": true})");
  EXPECT_THAT(await_line(1), HasSubstr(" 3+8 tokens "));
  server.Get("/nowhere?secret=1");
  EXPECT_THAT(await_line(2), ::testing::StartsWith("GET /nowhere 404 "));
  server.handler().StartDraining();
  server.Post("/v1/completions", body + "}");
  EXPECT_THAT(await_line(3), ::testing::StartsWith("warning: POST /v1/completions 503 "));
  EXPECT_THAT(await_line(3), ::testing::EndsWith(": The server is shutting down and takes no new "
                                                 "requests."));
}

}  // namespace
}  // namespace tessera::testing
