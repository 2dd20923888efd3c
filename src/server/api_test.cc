// The protocol over a real socket, with the embedded model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "server/protocol/json.h"
#include "server/testing/test_server.h"

namespace tessera::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Completion(const std::string& fields) {
  return std::string(R"({"prompt": ")") + kQuestion + R"(", "temperature": 0, "max_tokens": 60, )" +
         R"("stop": ["Question:"])" + (fields.empty() ? "" : ", " + fields) + "}";
}

std::string TextOf(const ClientResponse& response) {
  return Json::parse(response.body)["choices"][0]["text"].get<std::string>();
}

// The texts of a stream's events, one after another, and its last finish reason.
std::string TextOfStream(const std::string& body, std::string* finish) {
  std::string text;
  for (const Json& event : EventsOf(body)) {
    if (event["choices"].empty()) continue;
    const Json& choice = event["choices"][0];
    text += choice.contains("delta") ? choice["delta"].value("content", "")
                                     : choice["text"].get<std::string>();
    if (!choice["finish_reason"].is_null()) *finish = choice["finish_reason"].get<std::string>();
  }
  return text;
}

TEST(ApiTest, CompletionsAndChats) {
  TestServer server;
  const ClientResponse whole = server.Post("/v1/completions", Completion(""));
  ASSERT_EQ(whole.status, 200) << whole.body;
  EXPECT_THAT(TextOf(whole), HasSubstr("#### 45"));
  EXPECT_THAT(whole.head, HasSubstr("Content-Type: application/json"));
  EXPECT_THAT(whole.head, Not(HasSubstr("Access-Control")));
  EXPECT_EQ(Json::parse(whole.body)["model"], "tiny-math");

  std::string finish;
  const ClientResponse stream = server.Post(
      "/v1/completions",
      Completion(
          R"("stream": true, "stream_options": {"include_usage": true}, "model": "other-name")"));
  ASSERT_EQ(stream.status, 200) << stream.body;
  EXPECT_THAT(stream.head, HasSubstr("text/event-stream"));
  EXPECT_EQ(TextOfStream(stream.body, &finish), TextOf(whole));
  EXPECT_EQ(finish, "stop");
  EXPECT_THAT(stream.body, HasSubstr(R"("model":"other-name")"));
  EXPECT_THAT(stream.body, HasSubstr(R"("usage":{"prompt_tokens":)"));
  EXPECT_THAT(stream.body, ::testing::EndsWith("data: [DONE]\n\n"));

  const std::string chat = std::string(R"({"messages": [{"role": "user", "content": ")") +
                           kQuestion + R"("}], "temperature": 0, "max_tokens": 20, )";
  const ClientResponse answer = server.Post("/v1/chat/completions", chat + R"("n": 2})");
  ASSERT_EQ(answer.status, 200) << answer.body;
  const Json json = Json::parse(answer.body);
  ASSERT_EQ(json["choices"].size(), 2u);
  EXPECT_EQ(json["choices"][0]["message"], json["choices"][1]["message"]);
  const ClientResponse chat_stream =
      server.Post("/v1/chat/completions", chat + R"("stream": true})");
  EXPECT_EQ(TextOfStream(chat_stream.body, &finish),
            json["choices"][0]["message"]["content"].get<std::string>());
}

// The request that lm_eval scores multiple choices with.
TEST(ApiTest, LogLikelihoodOfPrompts) {
  TestServer server;
  const ClientResponse response = server.Post("/v1/completions", R"({"model": "tiny-math",
      "prompt": [[0, 71, 72, 73, 500], [0, 9, 1]], "temperature": 0, "max_tokens": 1,
      "logprobs": 1, "seed": 1234, "echo": true})");
  ASSERT_EQ(response.status, 200) << response.body;
  const Json json = Json::parse(response.body);
  ASSERT_EQ(json["choices"].size(), 2u);
  const size_t lengths[] = {5, 3};
  for (size_t c = 0; c < 2; ++c) {
    const Json& choice = json["choices"][c];
    EXPECT_EQ(choice["index"], c);
    const Json& logprobs = choice["logprobs"];
    ASSERT_EQ(logprobs["token_logprobs"].size(), lengths[c] + 1);
    ASSERT_EQ(logprobs["top_logprobs"].size(), lengths[c] + 1);
    EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
    for (size_t i = 1; i <= lengths[c]; ++i) {
      const Json& top = logprobs["top_logprobs"][i];
      const std::string name = logprobs["tokens"][i].get<std::string>();
      ASSERT_TRUE(top.contains(name)) << top;
      EXPECT_EQ(top[name], logprobs["token_logprobs"][i]);
      EXPECT_LE(logprobs["token_logprobs"][i].get<double>(), 0);
    }
    // The generated token is the likeliest one.
    EXPECT_EQ(logprobs["top_logprobs"][lengths[c]].size(), 1u);
  }
}

TEST(ApiTest, OtherPaths) {
  TestServer server;
  Json json = Json::parse(server.Get("/v1/models").body);
  EXPECT_EQ(json["data"][0]["id"], "tiny-math");
  EXPECT_EQ(json["data"][1]["id"], "other-name");
  EXPECT_EQ(json["data"][0]["max_model_len"], 2048);
  EXPECT_EQ(Json::parse(server.Get("/v1/models/other-name").body)["id"], "other-name");
  EXPECT_EQ(server.Get("/v1/models/unknown").status, 404);
  EXPECT_EQ(server.Get("/health").status, 200);
  EXPECT_EQ(Json::parse(server.Get("/version?x=1").body)["version"], "1.2.3");
  EXPECT_EQ(server.Get("/nowhere").status, 404);
  EXPECT_EQ(server.Get("/v1/completions").status, 405);

  json = Json::parse(server.Post("/tokenize", R"({"prompt": "one two"})").body);
  EXPECT_EQ(json["tokens"][0], 0) << "the start token";
  EXPECT_EQ(json["count"], json["tokens"].size());
  const Json bare = Json::parse(
      server.Post("/tokenize", R"({"prompt": "one two", "add_special_tokens": false})").body);
  EXPECT_EQ(bare["count"].get<int>() + 1, json["count"].get<int>());
  const std::string tokens = R"({"tokens": )" + bare["tokens"].dump() + "}";
  EXPECT_EQ(Json::parse(server.Post("/detokenize", tokens).body)["prompt"], "one two");
  json = Json::parse(
      server.Post("/tokenize", R"({"messages": [{"role": "user", "content": "x"}]})").body);
  EXPECT_GT(json["count"], 5);
  EXPECT_EQ(server.Post("/tokenize", "{}").status, 400);
  EXPECT_EQ(server.Post("/tokenize", R"({"prompt": 5})").status, 400);
  EXPECT_EQ(server.Post("/detokenize", R"({"tokens": "x"})").status, 400);
  EXPECT_EQ(server.Post("/detokenize", R"({"tokens": [-1]})").status, 400);
  EXPECT_EQ(server.Post("/detokenize", R"({"tokens": [99999]})").status, 400);
  EXPECT_EQ(server.Post("/detokenize", R"({"tokens": [1], "model": "no"})").status, 404);
  EXPECT_EQ(server.Post("/tokenize", R"({"prompt": "x", "model": "no"})").status, 404);
  EXPECT_EQ(server.Post("/tokenize", R"({"prompt": "x", "tools": 5})").status, 400);
  json = Json::parse(server.Get("/tokenizer_info").body);
  EXPECT_EQ(json["eos_token"], "<|end_of_text|>");
  EXPECT_TRUE(json["chat_template"].is_string());
}

TEST(ApiTest, RefusalsOverTheWire) {
  TestServer server;
  struct Case {
    std::string body;
    int status;
    const char* part;
  };
  for (const Case& c : {
           Case{R"({"prompt": "x", "model": "gpt"})", 404, "serves 'tiny-math', 'other-name'"},
           Case{R"({"prompt": []})", 400, "is an empty list"},
           Case{R"({"prompt": [[]]})", 400, "The prompt has no tokens"},
           Case{R"({"prompt": [1, 2048]})", 400, "holds the token 2048"},
           Case{R"({"prompt": ["a", "b"], "temperature": -1})", 400, "\"param\":\"temperature\""},
           Case{R"({"prompt": "a", "logit_bias": {"2048": 1}})", 400, "\"param\":\"logit_bias\""},
           Case{R"({"prompt": "a", "min_tokens": 20})", 400, "\"param\":\"min_tokens\""},
           Case{R"({"prompt": "a", "stop": ""})", 400, "empty string"},
           Case{std::string(1 << 20, '['), 400, "nested deeper"},
           Case{"{\"prompt\": \"\xc3\x28\"}", 400, "no valid JSON"},
           Case{R"({"prompt": ")" + std::string(10 << 20, 'a') + "\"}", 400, "certainly more"},
           Case{R"({"prompt": ")" + std::string(30000, 'a') + "\"}", 400, "shorten it"},
       }) {
    SCOPED_TRACE(c.body.substr(0, 60));
    const ClientResponse response = server.Post("/v1/completions", c.body);
    EXPECT_EQ(response.status, c.status);
    EXPECT_THAT(response.body, HasSubstr(c.part));
    EXPECT_TRUE(Json::parse(response.body)["error"]["message"].is_string());
  }
  EXPECT_EQ(server.engine().stats().running + server.engine().stats().waiting, 0);
  EXPECT_EQ(server.Post("/v1/completions", Completion("")).status, 200);
}

TEST(ApiTest, SamplingFieldsHaveTheirEffect) {
  TestServer server;
  const std::string start = R"({"prompt": "Question:", "max_tokens": 12, )";
  const auto text = [&](const std::string& fields) {
    const ClientResponse response = server.Post("/v1/completions", start + fields + "}");
    EXPECT_EQ(response.status, 200) << response.body;
    return TextOf(response);
  };
  EXPECT_EQ(text(R"("seed": 7)"), text(R"("seed": 7)"));
  EXPECT_NE(text(R"("seed": 7)"), text(R"("seed": 8)"));
  EXPECT_EQ(text(R"("temperature": 0)"), text(R"("top_k": 1, "temperature": 2)"));
  EXPECT_NE(text(R"("temperature": 0)"),
            text(R"("temperature": 0, "repetition_penalty": 5, "presence_penalty": 2)"));
  const std::string biased = text(R"("temperature": 0, "logit_bias": {"34": 100})");
  EXPECT_EQ(biased, std::string(12, biased[0]));
  const Json several = Json::parse(
      server.Post("/v1/completions", start + R"("n": 3, "best_of": 4, "seed": 1})").body);
  EXPECT_EQ(several["choices"].size(), 3u);
  EXPECT_EQ(several["usage"]["completion_tokens"], 48);
  // A stop string that is a special token's text ends the answer with the token.
  const std::string stopped =
      server
          .Post("/v1/completions", R"({"prompt": "x", "logit_bias": {"3": 100}, )"
                                   R"("stop": "<|end_header_id|>"})")
          .body;
  const Json ended = Json::parse(stopped);
  EXPECT_EQ(ended["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(ended["usage"]["completion_tokens"], 1);
}

TEST(ApiTest, TimeOver) {
  TestServerOptions options;
  options.engine.max_running = 1;
  options.engine.request_timeout = 0.2;
  TestServer server(options);
  // The first one runs until its time is over; the second has waited all the while.
  ClientResponse cut;
  std::thread first([&] { cut = server.Post("/v1/completions", EndlessBody()); });
  ASSERT_TRUE(Eventually([&] { return server.engine().stats().tokens_generated > 0; }));
  const ClientResponse refused =
      server.Post("/v1/completions", EndlessBody(R"("timeout": 0.01, "priority": 1)"));
  first.join();
  EXPECT_EQ(refused.status, 504) << refused.body;
  EXPECT_THAT(refused.body, HasSubstr("before its answer began"));
  EXPECT_THAT(refused.body, HasSubstr(R"("type":"timeout_error")"));
  ASSERT_EQ(cut.status, 200) << cut.body;
  EXPECT_EQ(Json::parse(cut.body)["choices"][0]["finish_reason"], "timeout");
  EXPECT_FALSE(TextOf(cut).empty());
  // The engine publishes its numbers after the step that sent the answer.
  EXPECT_TRUE(Eventually([&] { return server.Metric("tessera:num_timeouts_total") == 2; }));
  EXPECT_TRUE(Eventually([&] { return server.engine().stats().blocks_used == 0; }));
}

TEST(ApiTest, GuessesChangeNoAnswer) {
  TestServer server;
  const auto ask = [&](const std::string& fields) {
    const ClientResponse response = server.Post("/v1/completions", Completion(fields));
    EXPECT_EQ(response.status, 200) << response.body;
    return TextOf(response);
  };
  const std::string plain = ask("");
  EXPECT_EQ(server.Metric("tessera:spec_decode_num_drafts_total"), 0);
  EXPECT_EQ(ask(R"("speculative": {"method": "ngram", "num_tokens": 4})"), plain);
  EXPECT_GT(server.Metric("tessera:spec_decode_num_accepted_tokens_total"), 0);
  EXPECT_GE(server.Metric("tessera:spec_decode_num_draft_tokens_total"),
            server.Metric("tessera:spec_decode_num_accepted_tokens_total"));
}

TEST(ApiTest, KeysAndOrigins) {
  TestServerOptions options = Unloaded();
  options.api.api_keys = {"first", "second"};
  options.api.cors_origins = {"https://example.org"};
  TestServer server(options);
  struct Case {
    const char* header;
    int status;
  };
  for (const Case& c :
       {Case{"", 401}, Case{"Authorization: Bearer \r\n", 401},
        Case{"Authorization: Bearer firs\r\n", 401}, Case{"Authorization: Bearer firstt\r\n", 401},
        Case{"Authorization: first\r\n", 401}, Case{"authorization: Bearer first\r\n", 503},
        Case{"Authorization: Bearer second\r\n", 503}}) {
    SCOPED_TRACE(c.header);
    const ClientResponse response =
        Ask(server.port(),
            GetText("/v1/models", std::string("Origin: https://example.org\r\n") + c.header));
    EXPECT_EQ(response.status, c.status);
    EXPECT_THAT(response.head, HasSubstr("Access-Control-Allow-Origin: https://example.org"));
  }
  EXPECT_EQ(server.Get("/version").status, 200);
  const ClientResponse preflight =
      Ask(server.port(),
          "OPTIONS /v1/models HTTP/1.1\r\nHost: x\r\nOrigin: https://example.org\r\n\r\n");
  EXPECT_EQ(preflight.status, 204);
  EXPECT_THAT(preflight.head, HasSubstr("Access-Control-Allow-Headers: Authorization"));

  TestServer plain(Unloaded());
  EXPECT_EQ(Ask(plain.port(), GetText("/v1/models", "Authorization: Bearer \r\n")).status, 503);
  EXPECT_EQ(Ask(plain.port(), "OPTIONS /v1/models HTTP/1.1\r\nHost: x\r\n\r\n").status, 405);
}

TEST(ApiTest, LoadingAndDraining) {
  TestServer loading(Unloaded());
  loading.handler().SetLoading("weights", 0.5);
  const ClientResponse health = loading.Get("/health");
  EXPECT_EQ(health.status, 503);
  EXPECT_EQ(Json::parse(health.body),
            Json({{"status", "loading"}, {"phase", "weights"}, {"progress", 0.5}}));
  const ClientResponse refused = loading.Post("/v1/completions", Completion(""));
  EXPECT_EQ(refused.status, 503);
  EXPECT_THAT(refused.head, HasSubstr("Retry-After: 1"));
  EXPECT_THAT(refused.body, HasSubstr("still loading (weights 50 %)"));

  TestServer server;
  HttpClient running(server.port());
  running.Send(PostText("/v1/completions", R"({"prompt": "x", "max_tokens": 400, "stream": true,
                                               "ignore_eos": true})"));
  ASSERT_TRUE(running.ReceiveUntil("data: "));
  server.handler().StartDraining();
  EXPECT_EQ(server.Post("/v1/completions", Completion("")).status, 503);
  EXPECT_EQ(Json::parse(server.Get("/health").body)["status"], "draining");
  EXPECT_EQ(server.handler().num_active(), 1);
  EXPECT_TRUE(running.ReceiveUntil("data: [DONE]"));
  EXPECT_TRUE(Eventually([&] { return server.handler().num_active() == 0; }));
}

TEST(ApiTest, SixtyFourClientsGetTheirOwnAnswers) {
  TestServer server;
  constexpr int kClients = 64;
  const auto body = [](int i) {
    return std::string(R"({"prompt": "Question: Ada has )") + std::to_string(i) +
           R"( pears and buys 7 more. How many pears does Ada have?\nAnswer:", "temperature": 0,)"
           R"( "max_tokens": 24})";
  };
  std::vector<std::string> alone;
  for (int i = 0; i < kClients; ++i) {
    alone.push_back(TextOf(server.Post("/v1/completions", body(i))));
  }
  std::vector<std::string> together(kClients);
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([&, i] {
      const ClientResponse response = server.Post("/v1/completions", body(i));
      if (response.status == 200) together[static_cast<size_t>(i)] = TextOf(response);
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(together, alone);
  EXPECT_EQ(server.Metric("tessera:e2e_request_latency_seconds_count"), 2 * kClients);
  EXPECT_EQ(server.Metric("tessera:time_to_first_token_seconds_count"), 2 * kClients);
  EXPECT_EQ(server.Metric("tessera:num_requests_running"), 0);
  EXPECT_GT(server.Metric("tessera:generation_tokens_total"), 2 * kClients);
  EXPECT_GT(server.Metric("tessera:inter_token_latency_seconds_count"), kClients);
}

}  // namespace
}  // namespace tessera::testing
