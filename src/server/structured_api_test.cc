// Answers that are bound to a form, and calls of tools, over real sockets. The model knows sums
// only: its JSON is nonsense, but JSON.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "grammar/testing/schema_check.h"
#include "server/protocol/json.h"
#include "server/testing/test_server.h"

namespace tessera::testing {
namespace {

using ::testing::HasSubstr;

std::string Chat(const std::string& fields) {
  return R"({"messages": [{"role": "user", "content": "Ada has 3 pears."}], "max_tokens": 1000, )" +
         fields + "}";
}

Json ChoiceOf(const ClientResponse& response) {
  EXPECT_EQ(response.status, 200) << response.body;
  return response.status == 200 ? Json::parse(response.body)["choices"][0] : Json();
}

constexpr const char* kTools = R"("tools": [
    {"type": "function", "function": {"name": "add", "parameters": {"type": "object",
     "properties": {"a": {"type": "integer", "maximum": 99}, "unit": {"enum": ["kg", "m"]}},
     "required": ["a", "unit"]}}},
    {"type": "function", "function": {"name": "now", "parameters": {"type": "object",
     "properties": {}, "additionalProperties": false}}}])";

TEST(StructuredApiTest, AnswersFollowTheirSchema) {
  TestServer server;
  const Json schema = Json::parse(R"({"type": "object", "properties": {
      "name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0,
      "maximum": 120}, "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
      "parent": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/p"}]}},
      "required": ["name", "age", "tags", "parent"], "additionalProperties": false,
      "$defs": {"p": {"type": "object", "properties": {"ok": {"type": "boolean"}},
                      "required": ["ok"], "additionalProperties": false}}})");
  for (const char* how :
       {R"("temperature": 0)", R"("temperature": 2, "seed": 1)", R"("temperature": 1, "seed": 2)",
        R"("temperature": 1.5, "seed": 3, "logprobs": true)", R"("top_k": 5, "seed": 4)",
        R"("seed": 5, "repetition_penalty": 1.5, "min_tokens": 3)"}) {
    SCOPED_TRACE(how);
    const std::string format =
        R"("response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": )" +
        schema.dump() + "}}, ";
    const Json choice = ChoiceOf(server.Post("/v1/chat/completions", Chat(format + how)));
    EXPECT_EQ(choice["finish_reason"], "stop");
    const std::string text = choice["message"]["content"].get<std::string>();
    const Json value = Json::parse(text, nullptr, false);
    ASSERT_FALSE(value.is_discarded()) << text;
    EXPECT_EQ(Violation(value, schema, schema), "") << text;
  }
}

TEST(StructuredApiTest, OtherForms) {
  TestServer server;
  const auto text = [&](const std::string& fields) {
    const Json choice = ChoiceOf(server.Post(
        "/v1/completions", R"({"prompt": "Question", "max_tokens": 200, )" + fields + "}"));
    EXPECT_EQ(choice["finish_reason"], "stop");
    return choice["text"].get<std::string>();
  };
  const std::set<std::string> choices = {"yes", "no", "perhaps not"};
  for (int seed = 0; seed < 4; ++seed) {
    const std::string seeded = R"("seed": )" + std::to_string(seed) + ", ";
    EXPECT_EQ(choices.count(text(seeded + R"("guided_choice": ["yes", "no", "perhaps not"])")), 1u);
    EXPECT_THAT(text(seeded + R"("structured_outputs": {"regex": "[A-F]{3}-\\d{2,4}"})"),
                ::testing::MatchesRegex("[A-F]{3}-[0-9]{2,4}"));
  }
  // An answer that is cut off says so.
  const Json cut = ChoiceOf(
      server.Post("/v1/completions",
                  R"({"prompt": "x", "max_tokens": 3, "guided_regex": "[a-z]{50}", "n": 2})"));
  EXPECT_EQ(cut["finish_reason"], "length");
  // An end is allowed only where the text may end. No token of the model has these characters in
  // one, so that an end may come between them.
  EXPECT_EQ(text(R"("guided_regex": "\u4e2d\u4e8c?", "logit_bias": {"1": 100, "4": 100})"),
            "\u4e2d");
  EXPECT_EQ(text(R"("guided_regex": "\u4e2d\u4e8c", "logit_bias": {"1": 100, "4": 100})"),
            "\u4e2d\u4e8c");
  const Json object = Json::parse(
      text(R"("response_format": {"type": "json_object"}, "seed": 11, "temperature": 0.5)"),
      nullptr, false);
  EXPECT_TRUE(object.is_object()) << object;
}

// Whatever makes a constraint is compiled where others need not wait for it.
TEST(StructuredApiTest, ConstraintsAreLongWork) {
  TestServer server;
  HttpRequest request;
  for (const char* body :
       {R"({"guided_regex": "a"})", R"({"\u0067uided_regex": "a"})", R"({"guided\u005Fjson": {}})",
        R"({"t\u006Fols": []})", R"({"response_format": {}})"}) {
    request.body = body;
    EXPECT_TRUE(server.handler().TakesLong(request)) << body;
  }
  request.body = R"({"prompt": "Gr\u00fc\u00df Gott"})";
  EXPECT_FALSE(server.handler().TakesLong(request));
}

// What must end at once ends, whatever else is asked for.
TEST(StructuredApiTest, NothingMayFollow) {
  TestServer server;
  for (const char* fields :
       {R"("guided_regex": "")", R"("guided_regex": "", "ignore_eos": true)",
        R"("guided_regex": "", "min_tokens": 5, "logprobs": 1)",
        R"("guided_regex": "", "echo": true, "logprobs": 1, "ignore_eos": true)",
        R"("guided_regex": "", "n": 2, "ignore_eos": true)"}) {
    SCOPED_TRACE(fields);
    const Json choice =
        ChoiceOf(server.Post("/v1/completions", std::string(R"({"prompt": "x", )") + fields + "}"));
    EXPECT_EQ(choice["finish_reason"], "stop");
    EXPECT_THAT(choice["text"].get<std::string>(), ::testing::AnyOf("", "x"));
  }
  const ClientResponse stream = server.Post(
      "/v1/chat/completions", Chat(R"("guided_regex": "", "ignore_eos": true, "stream": true)"));
  EXPECT_EQ(stream.status, 200);
  EXPECT_THAT(stream.body, HasSubstr(R"("finish_reason":"stop")"));
  EXPECT_THAT(stream.body, HasSubstr("data: [DONE]"));
  const Json choice = ChoiceOf(server.Post(
      "/v1/completions",
      R"({"prompt": "x", "guided_choice": ["yes"], "min_tokens": 12, "ignore_eos": true})"));
  EXPECT_EQ(choice["text"], "yes");
  EXPECT_EQ(choice["finish_reason"], "stop");
}

TEST(StructuredApiTest, RefusesWithASentence) {
  TestServer server;
  for (const auto& [field, value] :
       {std::pair("guided_json", R"({"not": {}})"), std::pair("guided_regex", R"("(")"),
        std::pair("guided_json", "false"), std::pair("guided_json", R"({"$ref": "#"})")}) {
    const std::string fields = std::string("\"") + field + "\": " + value;
    const ClientResponse response =
        server.Post("/v1/completions", R"({"prompt": "x", )" + fields + "}");
    EXPECT_EQ(response.status, 400) << fields;
    EXPECT_EQ(Json::parse(response.body)["error"]["param"], field) << response.body;
  }
}

TEST(StructuredApiTest, ToolCallsThatAreAskedFor) {
  TestServer server;
  const std::string named =
      Chat(std::string(kTools) + R"(, "tool_choice": {"type": "function", "function":
           {"name": "add"}}, "temperature": 1, "seed": 3)");
  Json choice = ChoiceOf(server.Post("/v1/chat/completions", named));
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  EXPECT_TRUE(choice["message"]["content"].is_null());
  ASSERT_EQ(choice["message"]["tool_calls"].size(), 1u);
  const Json call = choice["message"]["tool_calls"][0];
  EXPECT_EQ(call["type"], "function");
  EXPECT_EQ(call["function"]["name"], "add");
  EXPECT_THAT(call["id"].get<std::string>(), HasSubstr("call_"));
  const Json arguments = Json::parse(call["function"]["arguments"].get<std::string>());
  EXPECT_LE(arguments["a"].get<int>(), 99);
  EXPECT_TRUE(arguments["unit"] == "kg" || arguments["unit"] == "m");

  for (int seed = 0; seed < 4; ++seed) {
    choice = ChoiceOf(server.Post("/v1/chat/completions",
                                  Chat(std::string(kTools) +
                                       R"(, "tool_choice": "required", "parallel_tool_calls": false,
             "seed": )" + std::to_string(seed))));
    EXPECT_EQ(choice["finish_reason"], "tool_calls");
    ASSERT_EQ(choice["message"]["tool_calls"].size(), 1u) << choice;
    const Json& function = choice["message"]["tool_calls"][0]["function"];
    EXPECT_TRUE(Json::parse(function["arguments"].get<std::string>()).is_object());
  }
}

// The whole answer's calls in parts: first the name, then arguments.
TEST(StructuredApiTest, StreamedToolCalls) {
  TestServer server;
  for (const char* asked :
       {R"("tool_choice": {"type": "function", "function": {"name": "add"}}, "seed": 3)",
        R"("tool_choice": "required", "parallel_tool_calls": false, "seed": 1)",
        R"("tool_choice": "required", "parallel_tool_calls": false, "seed": 2)",
        R"("tool_choice": "required", "max_tokens": 60, "seed": 3)"}) {
    SCOPED_TRACE(asked);
    const std::string fields = std::string(kTools) + ", " + asked;
    const Json choice = ChoiceOf(server.Post("/v1/chat/completions", Chat(fields)));
    const ClientResponse stream =
        server.Post("/v1/chat/completions", Chat(fields + R"(, "stream": true)"));
    std::vector<std::pair<std::string, std::string>> calls;
    Json reason;
    for (const Json& event : EventsOf(stream.body)) {
      reason = event["choices"][0]["finish_reason"];
      for (const Json& part : event["choices"][0]["delta"].value("tool_calls", Json::array())) {
        const std::string arguments = part["function"]["arguments"].get<std::string>();
        if (part.contains("id")) {
          EXPECT_EQ(arguments, "");
          calls.emplace_back(part["function"]["name"].get<std::string>(), "");
        }
        ASSERT_EQ(part["index"], calls.size() - 1);
        calls.back().second += arguments;
      }
    }
    EXPECT_EQ(reason, choice["finish_reason"]);
    const Json whole = choice["message"].value("tool_calls", Json::array());
    ASSERT_FALSE(whole.empty());
    ASSERT_EQ(calls.size(), whole.size());
    for (size_t i = 0; i < calls.size(); ++i) {
      const Json& function = whole[i]["function"];
      EXPECT_EQ(function["name"], calls[i].first);
      EXPECT_EQ(function["arguments"], calls[i].second);
    }
  }
}

TEST(StructuredApiTest, ToolsThatAreNotCalled) {
  TestServer server;
  for (const char* choice : {R"(, "tool_choice": "auto")", R"(, "tool_choice": "none")", ""}) {
    const Json answer = ChoiceOf(server.Post(
        "/v1/chat/completions", Chat(std::string(kTools) + choice + R"(, "temperature": 0)")));
    EXPECT_FALSE(answer["message"].contains("tool_calls"));
    EXPECT_FALSE(answer["message"]["content"].get<std::string>().empty());
  }
  const ClientResponse conversation = server.Post("/v1/chat/completions", R"({"messages": [
      {"role": "user", "content": "x"}, {"role": "assistant", "content": null, "tool_calls": [
       {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 1}"}}]},
      {"role": "tool", "tool_call_id": "1", "content": "2"}], "max_tokens": 4})");
  EXPECT_EQ(conversation.status, 200) << conversation.body;
}

}  // namespace
}  // namespace tessera::testing
