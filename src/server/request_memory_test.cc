// What a request keeps in memory while it waits and runs, and what refused ones cost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/protocol/json.h"
#include "server/served_model.h"
#include "server/testing/test_server.h"

namespace tessera::testing {
namespace {

using ::testing::HasSubstr;

// A body of 32 MiB may ask for 4096 answers: nothing long may be there once for each of them.
TEST(RequestMemoryTest, AnswersShareWhatIsLong) {
  TestServer server;
  const ServedModel model(&server.engine(), {"m"}, "directory");
  std::string tokens = "5";
  for (int i = 0; i < 100'000; ++i) tokens += "," + std::to_string(i * 7 % 500);
  GenerationRequest request;
  const std::string body = R"({"prompt": "x", "n": 1024, "seed": 3, "stop": ["a", "b"],
      "bad_words": ["Quinn"], "logit_bias": {"7": 1}, "stop_token_ids": [)" +
                           tokens + R"(], "allowed_token_ids": [)" + tokens + "]}";
  ASSERT_FALSE(ParseCompletionRequest(body, &request));
  EXPECT_EQ(request.sampling.stop_token_ids.size(), 500u) << "each once";
  EXPECT_LE(request.sampling.allowed_token_ids.capacity(), 1000u);
  ASSERT_FALSE(model.Tokenize(&request));
  const auto requests = model.EngineRequests(request);
  ASSERT_TRUE(requests.ok()) << requests.error().message;
  ASSERT_EQ(requests.value().size(), 1024u);
  for (const Request& one : requests.value()) {
    ASSERT_NE(one.rules, nullptr);
    EXPECT_EQ(one.rules, requests.value().front().rules);
    const SamplingParams& own = one.sampling;
    EXPECT_EQ(own.stop.capacity() + own.stop_token_ids.capacity() + own.logit_bias.capacity() +
                  own.allowed_token_ids.capacity() + own.bad_words.capacity(),
              0u);
  }
  const TokenRules& rules = *requests.value().front().rules;
  EXPECT_EQ(rules.stop_tokens.size(), 500u);
  EXPECT_TRUE(rules.allowed != nullptr && rules.stops != nullptr);
  EXPECT_EQ(rules.logit_bias.size(), 1u);
  EXPECT_EQ(rules.bad_words.size(), 2u) << "at a text's start, and after a space";
  EXPECT_EQ(requests.value()[5].sampling.seed, 8u);
}

TEST(RequestMemoryTest, WhatThePromptWasMadeFromIsForgotten) {
  TestServer server;
  const ServedModel model(&server.engine(), {"m"}, "directory");
  GenerationRequest chat;
  ASSERT_FALSE(ParseChatRequest(
      R"({"messages": [{"role": "user", "content": "hi", "x": [1, 2]}],
          "chat_template_kwargs": {"y": [3]}, "stop": "a", "bad_words": ["b"],
          "tools": [{"type": "function",
                     "function": {"name": "f", "parameters": {"type": "object"}}}]})",
      &chat));
  ASSERT_FALSE(model.Tokenize(&chat));
  EXPECT_EQ(chat.messages.size(), 1u);
  ForgetSources(&chat);
  EXPECT_TRUE(chat.messages.empty() && chat.template_arguments.empty() && chat.tools.tools.empty());
  EXPECT_EQ(chat.bad_words.capacity() + chat.sampling.stop.capacity(), 0u);
  EXPECT_FALSE(chat.prompts.at(0).tokens.empty());
  EXPECT_EQ(chat.prompts.at(0).text, "");
  ASSERT_EQ(chat.tools.functions.size(), 1u);
  EXPECT_EQ(chat.tools.functions[0].name, "f");
  EXPECT_TRUE(chat.tools.functions[0].parameters.is_null());

  for (const bool echo : {false, true}) {
    GenerationRequest completion;
    const std::string text(1000, 'a');
    const std::string body =
        R"({"prompt": ")" + text + R"(", "echo": )" + (echo ? "true" : "false") + "}";
    ASSERT_FALSE(ParseCompletionRequest(body, &completion));
    ForgetSources(&completion);
    EXPECT_EQ(completion.prompts.at(0).text, echo ? text : "");
    EXPECT_EQ(completion.prompts[0].text.capacity() > 100, echo);
  }
}

TEST(RequestMemoryTest, WhereOnePromptIsRefusedNoneRuns) {
  TestServer server;
  const std::string good = Json(std::vector<int>(100, 5)).dump();
  const std::string long_one = Json(std::vector<int>(3000, 5)).dump();
  const ClientResponse response =
      server.Post("/v1/completions",
                  R"({"max_tokens": 4, "prompt": [)" + good + "," + good + "," + long_one + "]}");
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(response.body, HasSubstr("3000 tokens"));
  server.engine().WaitIdle();
  EXPECT_EQ(server.engine().stats().steps, 0);
  EXPECT_THAT(server.Get("/metrics").body, HasSubstr("finished_reason=\"abort\"} 0\n"));
}

TEST(RequestMemoryTest, LongTextsMayBeTruncated) {
  TestServer server;
  std::string text;
  while (text.size() < 300'000) text += "word ";
  const auto post = [&](const std::string& fields) {
    return server.Post("/v1/completions",
                       R"({"prompt": ")" + text + R"(", "max_tokens": 1)" + fields + "}");
  };
  const ClientResponse whole = post("");
  EXPECT_EQ(whole.status, 400);
  EXPECT_THAT(whole.body, HasSubstr("certainly more than the 2048 tokens"));
  const ClientResponse end = post(R"(, "truncate_prompt_tokens": 5)");
  EXPECT_EQ(end.status, 200) << end.body;
  EXPECT_EQ(Json::parse(end.body)["usage"]["prompt_tokens"], 5);
}

}  // namespace
}  // namespace tessera::testing
