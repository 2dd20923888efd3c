// vLLM's fields beyond OpenAI's, over a real socket, with the embedded model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/protocol/json.h"
#include "server/served_model.h"
#include "server/testing/test_server.h"

namespace tessera::testing {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

class RequestFieldsTest : public ::testing::Test {
 protected:
  Json Post(const std::string& path, const std::string& body) const {
    const ClientResponse response = server_.Post(path, body);
    EXPECT_EQ(response.status, 200) << response.body;
    return Json::parse(response.body);
  }

  // The choice that answers kQuestion, with its tokens.
  Json Complete(const std::string& fields) const {
    return Post("/v1/completions",
                std::string(R"({"prompt": ")") + kQuestion +
                    R"(", "temperature": 0, "max_tokens": 40, "return_token_ids": true, )" +
                    fields + "}")["choices"][0];
  }

  std::string Text(const Json& tokens) const {
    const Json body = {{"tokens", tokens}};
    return Post("/detokenize", body.dump())["prompt"].get<std::string>();
  }

  TestServer server_;
};

TEST_F(RequestFieldsTest, TokensThatMayBeChosen) {
  const Json free = Complete(R"("stop": ["Question:"])");
  const std::string text = free["text"].get<std::string>();
  ASSERT_THAT(text, HasSubstr("Quinn"));
  const Json without = Complete(R"("stop": ["Question:"], "bad_words": ["Quinn", "####"])");
  EXPECT_THAT(without["text"].get<std::string>(), Not(HasSubstr("Quinn")));
  EXPECT_THAT(without["text"].get<std::string>(), Not(HasSubstr("####")));

  const Json among = Complete(R"("allowed_token_ids": [20, 21, 300], "max_tokens": 9)");
  EXPECT_EQ(among["token_ids"].size(), 9u);
  for (const Json& token : among["token_ids"]) {
    EXPECT_TRUE(token == 20 || token == 21 || token == 300) << token;
  }
  const ClientResponse wrong =
      server_.Post("/v1/completions", R"({"prompt": "x", "allowed_token_ids": [2048]})");
  EXPECT_EQ(wrong.status, 400);
  EXPECT_EQ(Json::parse(wrong.body)["error"]["param"], "allowed_token_ids");
}

TEST_F(RequestFieldsTest, PromptsAndTheirTokens) {
  const Json whole = Complete(R"("max_tokens": 1)")["prompt_token_ids"];
  const Json bare = Complete(R"("max_tokens": 1, "add_special_tokens": false)")["prompt_token_ids"];
  EXPECT_EQ(whole[0], 0) << "the start token";
  EXPECT_EQ(bare, Json(std::vector<Json>(whole.begin() + 1, whole.end())));

  const Json last = Complete(R"("max_tokens": 1, "truncate_prompt_tokens": 5, "echo": true)");
  const Json end = Json(std::vector<Json>(whole.end() - 5, whole.end()));
  EXPECT_EQ(last["prompt_token_ids"], end);
  EXPECT_EQ(last["text"], Text(end) + Text(last["token_ids"]));
  EXPECT_EQ(Complete(R"("truncate_prompt_tokens": 5000)")["prompt_token_ids"], whole);
  const std::string tokens = Json(std::vector<int>(3000, 7)).dump();
  const Json cut = Post("/v1/completions", R"({"prompt": )" + tokens +
                                               R"(, "max_tokens": 8, "truncate_prompt_tokens": -1,
                                                   "return_token_ids": true})")["choices"][0];
  EXPECT_EQ(cut["prompt_token_ids"].size(), 2040u);

  const Json scored = Complete(R"("max_tokens": 1, "prompt_logprobs": 2)")["prompt_logprobs"];
  ASSERT_EQ(scored.size(), whole.size());
  EXPECT_TRUE(scored[0].is_null());
  for (size_t i = 1; i < scored.size(); ++i) {
    const Json& own = scored[i][whole[i].dump()];
    ASSERT_TRUE(own.is_object()) << scored[i];
    EXPECT_EQ(scored[i].size(), own["rank"] > 2 ? 3u : 2u);
    EXPECT_LE(own["logprob"], 0);
  }
}

TEST_F(RequestFieldsTest, WhatTheTextShows) {
  const std::string text = Complete(R"("x": 1)")["text"].get<std::string>();
  const size_t mark = text.find("####");
  ASSERT_NE(mark, std::string::npos) << text;
  EXPECT_EQ(Complete(R"("stop": "####")")["text"], text.substr(0, mark));
  EXPECT_EQ(Complete(R"("stop": "####", "include_stop_str_in_output": true)")["text"],
            text.substr(0, mark + 4));
  const std::string special = R"("allowed_token_ids": [0], "ignore_eos": true, "max_tokens": 2)";
  EXPECT_EQ(Complete(special)["text"], "");
  EXPECT_EQ(Complete(special + R"(, "skip_special_tokens": false)")["text"], Text({0, 0}));
  EXPECT_NE(Text({0}), "");
  EXPECT_EQ(Post("/v1/completions", R"({"prompt": "x", "request_id": "mine"})")["id"], "cmpl-mine");
}

// vLLM's stop_reason: null at the model's own end.
TEST_F(RequestFieldsTest, StopReasonSaysWhatEndedTheAnswer) {
  const Json whole = Complete(R"("max_tokens": 3)");
  EXPECT_EQ(whole["finish_reason"], "length");
  EXPECT_TRUE(whole.at("stop_reason").is_null());
  const Json third = whole["token_ids"][2];
  EXPECT_EQ(Complete(R"("stop_token_ids": [)" + third.dump() + "]")["stop_reason"], third);
  EXPECT_EQ(Complete(R"("stop": ["zzz", "####"])")["stop_reason"], "####");
  const std::string special = R"("allowed_token_ids": [0], "stop": ")" + Text({0}) + "\"";
  EXPECT_EQ(Complete(special)["stop_reason"], Text({0})) << "though it ends by its number";
  const std::string body = std::string(R"({"prompt": ")") + kQuestion +
                           R"(", "temperature": 0, "stream": true, "max_tokens": 40, )";
  for (const auto& [fields, reason] : {std::pair{R"("stop": "####"})", Json("####")},
                                       std::pair{R"("allowed_token_ids": [1]})", Json(nullptr)}}) {
    const std::vector<Json> events = EventsOf(server_.Post("/v1/completions", body + fields).body);
    ASSERT_FALSE(events.empty());
    const Json& last = events.back()["choices"][0];
    EXPECT_EQ(last["finish_reason"], "stop");
    EXPECT_EQ(last.at("stop_reason"), reason);
    for (size_t i = 0; i + 1 < events.size(); ++i) {
      EXPECT_FALSE(events[i]["choices"][0].contains("stop_reason"));
    }
  }
}

TEST_F(RequestFieldsTest, RefusalsNameTheFieldThatWasSent) {
  std::string text;
  for (int i = 0; i < 2500; ++i) text += "word ";
  struct Case {
    const char* path;
    std::string body;
    const char* param;
    const char* message;
  };
  for (const Case& c :
       {Case{"/v1/completions", R"({"prompt": ")" + text + "\"}", "prompt", "leaves no room"},
        Case{"/v1/chat/completions",
             R"({"messages": [{"role": "user", "content": ")" + text + "\"}]}", "messages",
             "leaves no room"},
        Case{"/v1/completions", R"({"prompt": "x", "guided_choice": ["7"], "bad_words": ["7"]})",
             "bad_words", "satisfies bad_words, the answer's form;"},
        Case{"/v1/completions",
             R"({"prompt": "x", "guided_choice": ["7"], "allowed_token_ids": [300]})",
             "allowed_token_ids", "satisfies allowed_token_ids, the answer's form;"},
        Case{"/v1/completions", R"({"prompt": "x", "min_tokens": 2, "allowed_token_ids": [1]})",
             "allowed_token_ids", "satisfies allowed_token_ids, min_tokens;"}}) {
    const ClientResponse response = server_.Post(c.path, c.body);
    EXPECT_EQ(response.status, 400) << response.body;
    EXPECT_EQ(Json::parse(response.body)["error"]["param"], c.param) << response.body;
    EXPECT_THAT(response.body, HasSubstr(c.message));
  }
}

// As generation_config.json may recommend.
TEST_F(RequestFieldsTest, ModelsMaySayHowTokensAreChosen) {
  const std::string body = std::string(R"({"prompt": ")") + kQuestion + R"(", "max_tokens": 30)";
  const auto text = [&](const std::string& fields) {
    return Post("/v1/completions", body + fields + "}")["choices"][0]["text"];
  };
  const Json greedy = text(R"(, "temperature": 0)");
  const Json drawn = text(R"(, "temperature": 5, "top_p": 1, "seed": 7)");
  ASSERT_NE(greedy, drawn);
  GenerationDefaults defaults;
  defaults.temperature = 5;
  defaults.top_k = 1;
  server_.handler().SetModel(std::make_unique<ServedModel>(
      &server_.engine(), std::vector<std::string>{"m"}, "directory", defaults));
  EXPECT_EQ(text(""), greedy) << "one token to choose from";
  EXPECT_EQ(text(R"(, "temperature": null, "top_k": 0, "seed": 7)"), drawn);
  EXPECT_EQ(text(R"(, "temperature": 0, "top_k": 0)"), greedy);
}

TEST_F(RequestFieldsTest, ContinuousUsageCountsTheTokensSoFar) {
  const std::string body =
      R"({"prompt": [5, 6, 7], "max_tokens": 6, "ignore_eos": true, "stream": true, "n": 2,
          "return_token_ids": true, "stream_options": {"continuous_usage_stats": true)";
  int64_t tokens = 0;
  const std::vector<Json> events =
      EventsOf(server_.Post("/v1/completions", body + R"(, "include_usage": true}})").body);
  for (const Json& event : events) {
    if (!event["choices"].empty()) tokens += event["choices"][0]["token_ids"].size();
    EXPECT_EQ(event["usage"]["prompt_tokens"], 3);
    EXPECT_EQ(event["usage"]["completion_tokens"], tokens);
  }
  EXPECT_EQ(tokens, 12);
  EXPECT_GE(events.size(), 3u) << "both answers, and the last one without a choice";
  for (const Json& event : EventsOf(server_.Post("/v1/completions", body + "}}").body)) {
    EXPECT_FALSE(event.contains("usage")) << "include_usage was not asked for";
  }
}

TEST_F(RequestFieldsTest, FinalMessageIsGoneOnWith) {
  const std::string messages =
      R"("messages": [{"role": "user", "content": "How many?"},
                      {"role": "assistant", "content": "Quinn has "}])";
  const std::string fields = R"(, "continue_final_message": true})";
  const Json chat =
      Post("/v1/chat/completions",
           "{" + messages + R"(, "max_tokens": 3, "return_token_ids": true)" + fields);
  const std::string prompt = Text(chat["prompt_token_ids"]);
  EXPECT_THAT(prompt, EndsWith("Quinn has "));
  EXPECT_THAT(prompt, HasSubstr("How many?"));
  EXPECT_EQ(chat["choices"][0]["token_ids"].size(), 3u);
  EXPECT_EQ(Post("/tokenize", "{" + messages + fields)["tokens"], chat["prompt_token_ids"]);
  const ClientResponse none = server_.Post(
      "/v1/chat/completions", R"({"messages": [{"role": "assistant", "content": ""}])" + fields);
  EXPECT_EQ(none.status, 400);
  EXPECT_EQ(Json::parse(none.body)["error"]["param"], "continue_final_message");
}

TEST_F(RequestFieldsTest, UsageSaysWhatWasCached) {
  const std::string body = std::string(R"({"prompt": ")") + kQuestion + R"(", "max_tokens": 1)";
  const auto cached = [](const Json& answer) {
    return answer["usage"]["prompt_tokens_details"]["cached_tokens"].get<int>();
  };
  const Json first = Post("/v1/completions", body + "}");
  EXPECT_EQ(cached(first), 0);
  const int tokens = first["usage"]["prompt_tokens"].get<int>();
  const int blocks = (tokens - 1) / 16 * 16;
  EXPECT_EQ(cached(Post("/v1/completions", body + "}")), blocks);
  EXPECT_EQ(cached(Post("/v1/completions", body + R"(, "n": 3})")), blocks) << "once for a prompt";
  const ClientResponse stream = server_.Post(
      "/v1/completions", body + R"(, "stream": true, "stream_options": {"include_usage": true}})");
  EXPECT_THAT(stream.body, HasSubstr(R"("cached_tokens":)" + std::to_string(blocks)));
  EXPECT_EQ(server_.Metric("tessera:request_queue_time_seconds_count"), 6);
}

TEST(RequestLimitsTest, LogprobsAreBounded) {
  TestServerOptions options;
  options.api.max_logprobs = 3;
  TestServer server(options);
  struct Case {
    const char* path;
    const char* fields;
    int status;
    const char* param;
  };
  for (const Case& c :
       {Case{"/v1/completions", R"("logprobs": 3)", 200, ""},
        Case{"/v1/completions", R"("logprobs": 4)", 400, "logprobs"},
        Case{"/v1/completions", R"("prompt_logprobs": 4)", 400, "prompt_logprobs"},
        Case{"/v1/completions", R"("logprobs": 3, "n": 200, "max_tokens": 2000)", 400, "logprobs"},
        Case{"/v1/chat/completions", R"("logprobs": true, "top_logprobs": 3)", 200, ""},
        Case{"/v1/chat/completions", R"("logprobs": true, "top_logprobs": 4)", 400,
             "top_logprobs"}}) {
    SCOPED_TRACE(c.fields);
    const ClientResponse response = server.Post(
        c.path, std::string(R"({"prompt": "x", "messages": [{"role": "user", "content": "x"}],
                                "max_tokens": 2, )") +
                    c.fields + "}");
    EXPECT_EQ(response.status, c.status) << response.body;
    if (c.status == 200) continue;
    EXPECT_EQ(Json::parse(response.body)["error"]["param"], c.param);
  }
}

}  // namespace
}  // namespace tessera::testing
