#include "server/protocol/generation_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "server/protocol/chat_messages.h"

namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::optional<ApiError> ParseBoth(AnswerForm form, const std::string& body,
                                  GenerationRequest* request) {
  return form == AnswerForm::kChat ? ParseChatRequest(body, request)
                                   : ParseCompletionRequest(body, request);
}

std::string MessageOf(const std::optional<ApiError>& error) { return error ? error->message : ""; }

TEST(CompletionRequestTest, Defaults) {
  GenerationRequest request;
  ASSERT_FALSE(ParseCompletionRequest(R"({"prompt": "Hi"})", &request));
  ASSERT_EQ(request.prompts.size(), 1u);
  EXPECT_TRUE(request.prompts[0].is_text);
  EXPECT_EQ(request.prompts[0].text, "Hi");
  EXPECT_EQ(request.sampling.max_tokens, 16);
  EXPECT_EQ(request.sampling.temperature, 1.0f);
  EXPECT_EQ(request.n, 1);
  EXPECT_EQ(request.best_of, 1);
  EXPECT_FALSE(request.echo || request.stream || request.logprobs || request.sampling.seed);
  EXPECT_TRUE(request.generates);
}

TEST(CompletionRequestTest, SomeValuesMeanNone) {
  GenerationRequest request;
  ASSERT_FALSE(ParseCompletionRequest(R"({"prompt": "Hi", "seed": -1, "top_k": -1})", &request));
  EXPECT_FALSE(request.sampling.seed) << "any, as vLLM has it";
}

TEST(CompletionRequestTest, AllFieldsArrive) {
  GenerationRequest request;
  const auto error = ParseCompletionRequest(
      R"({"model": "m", "prompt": [1, 2], "max_tokens": 7, "temperature": 0.5, "top_p": 0.25,
          "top_k": 4, "min_p": 0.125, "n": 2, "best_of": 3, "echo": true, "logprobs": 5,
          "presence_penalty": -1, "frequency_penalty": 1.5, "repetition_penalty": 2,
          "logit_bias": {"50": -100, "3": 1.5}, "seed": -2, "stop": ["a", "bc"],
          "stop_token_ids": [7, 8], "min_tokens": 2, "ignore_eos": true, "stream": false,
          "return_tokens_as_token_ids": true, "add_special_tokens": false, "bad_words": ["x", " y"],
          "allowed_token_ids": [3, 4], "prompt_logprobs": 2, "truncate_prompt_tokens": -1,
          "include_stop_str_in_output": true, "skip_special_tokens": false,
          "spaces_between_special_tokens": false, "return_token_ids": true, "request_id": "r", "user": "x", "priority": -3,
          "timeout": 2.5, "speculative": {"method": "ngram", "num_tokens": 4}, "unknown": {"a": [1]}})",
      &request);
  ASSERT_FALSE(error) << MessageOf(error);
  EXPECT_EQ(request.model, "m");
  EXPECT_EQ(request.add_special_tokens, false);
  EXPECT_FALSE(request.prompts[0].is_text);
  EXPECT_THAT(request.prompts[0].tokens, ElementsAre(1, 2));
  const SamplingParams& s = request.sampling;
  EXPECT_EQ(s.max_tokens, 7);
  EXPECT_EQ(s.temperature, 0.5f);
  EXPECT_EQ(s.top_p, 0.25f);
  EXPECT_EQ(s.top_k, 4);
  EXPECT_EQ(s.min_p, 0.125f);
  EXPECT_EQ(s.presence_penalty, -1);
  EXPECT_EQ(s.frequency_penalty, 1.5f);
  EXPECT_EQ(s.repetition_penalty, 2);
  EXPECT_THAT(s.logit_bias, ElementsAre(Pair(50, -100.0f), Pair(3, 1.5f)));
  EXPECT_EQ(s.seed, ~uint64_t{1});
  EXPECT_THAT(s.stop, ElementsAre("a", "bc"));
  EXPECT_THAT(s.stop_token_ids, ElementsAre(7, 8));
  EXPECT_EQ(s.min_tokens, 2);
  EXPECT_TRUE(s.ignore_eos);
  EXPECT_EQ(request.n, 2);
  EXPECT_EQ(request.best_of, 3);
  EXPECT_TRUE(request.echo);
  EXPECT_TRUE(request.tokens_as_ids);
  EXPECT_EQ(request.logprobs, 5);
  EXPECT_THAT(request.bad_words, ElementsAre("x", " y"));
  EXPECT_THAT(s.allowed_token_ids, ElementsAre(3, 4));
  EXPECT_EQ(request.prompt_logprobs, 2);
  EXPECT_EQ(request.truncate_prompt_tokens, -1);
  EXPECT_TRUE(s.include_stop_str_in_output && !s.skip_special_tokens);
  EXPECT_TRUE(request.return_token_ids);
  EXPECT_EQ(request.id, "r");
  EXPECT_EQ(request.scheduling.user, "x");
  EXPECT_EQ(request.scheduling.priority, -3);
  EXPECT_EQ(request.scheduling.timeout, 2.5f);
  EXPECT_EQ(request.scheduling.speculative_tokens, 4);
}

TEST(CompletionRequestTest, NullIsAsAbsent) {
  GenerationRequest request;
  const auto error = ParseCompletionRequest(
      R"({"prompt": "x", "max_tokens": null, "temperature": null, "stop": null, "seed": null,
          "logprobs": null, "stream": null, "stream_options": null, "logit_bias": null,
          "suffix": null, "response_format": null, "n": null, "best_of": null, "model": null})",
      &request);
  ASSERT_FALSE(error) << MessageOf(error);
  EXPECT_EQ(request.sampling.max_tokens, 16);
}

TEST(CompletionRequestTest, FourShapesOfPrompts) {
  struct Case {
    const char* prompt;
    size_t count;
    bool is_text;
  };
  for (const Case& c :
       {Case{R"("text")", 1, true}, Case{R"("")", 1, true}, Case{R"(["a", "b", ""])", 3, true},
        Case{"[1, 2, 3.0]", 1, false}, Case{"[[1], [2, 3], []]", 3, false}}) {
    SCOPED_TRACE(c.prompt);
    GenerationRequest request;
    const auto error =
        ParseCompletionRequest(std::string(R"({"prompt": )") + c.prompt + "}", &request);
    ASSERT_FALSE(error) << MessageOf(error);
    ASSERT_EQ(request.prompts.size(), c.count);
    for (const Prompt& prompt : request.prompts) EXPECT_EQ(prompt.is_text, c.is_text);
  }
}

TEST(CompletionRequestTest, MaxTokensZeroScoresThePrompt) {
  GenerationRequest request;
  ASSERT_FALSE(ParseCompletionRequest(
      R"({"prompt": "x", "max_tokens": 0, "echo": true, "logprobs": 0})", &request));
  EXPECT_FALSE(request.generates);
  EXPECT_EQ(request.sampling.max_tokens, 1);
}

struct Refusal {
  AnswerForm form;
  std::string body;
  std::string param;
  std::string part;  // of the message
};

constexpr AnswerForm kText = AnswerForm::kCompletion;
constexpr AnswerForm kChat = AnswerForm::kChat;

std::string WithPrompt(const std::string& field) { return R"({"prompt": "x", )" + field + "}"; }

std::string WithMessage(const std::string& field) {
  return R"({"messages": [{"role": "user", "content": "x"}], )" + field + "}";
}

TEST(GenerationRequestTest, RefusesWithTheFieldsName) {
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  const std::vector<Refusal> refusals = {
      {kText, "", "", "is empty"},
      {kText, "{", "", "no valid JSON"},
      {kText, "[]", "", "must be a JSON object, but is a list"},
      {kText, R"("x")", "", "but is a string"},
      {kText, "{} x", "", "no valid JSON"},
      {kText, "{\"prompt\": \"\xff\xfe\"}", "", "no valid JSON"},
      {kText, R"({"prompt": "\ud800"})", "", "no valid JSON"},
      {kText, R"({"prompt": 1e999})", "", "no valid JSON"},
      {kText, R"({"prompt": )" + deep + "}", "", "nested deeper than 64"},
      {kText, R"({"x": )" + deep, "", "nested deeper than 64"},
      {kText, "{}", "prompt", "prompt must be a string, a list of strings"},
      {kText, R"({"prompt": []})", "prompt", "is an empty list"},
      {kText, R"({"prompt": {}})", "prompt", "is an object"},
      {kText, R"({"prompt": true})", "prompt", "is true or false"},
      {kText, R"({"prompt": [1, "a"]})", "prompt", "something else"},
      {kText, R"({"prompt": ["a", 1]})", "prompt", "something else"},
      {kText, R"({"prompt": ["a", [1]]})", "prompt", "something else"},
      {kText, R"({"prompt": [[1], "a"]})", "prompt", "something else"},
      {kText, R"({"prompt": [1.5]})", "prompt", "something else"},
      {kText, R"({"prompt": [4294967296]})", "prompt", "something else"},
      {kText, R"({"prompt": [null]})", "prompt", "something else"},
      {kText, WithPrompt(R"("max_tokens": "7")"), "max_tokens", "must be an integer, but is a"},
      {kText, WithPrompt(R"("max_tokens": 1.5)"), "max_tokens", "must be an integer"},
      {kText, WithPrompt(R"("max_tokens": -1)"), "max_tokens", "must be in 0 to"},
      {kText, WithPrompt(R"("max_tokens": 0)"), "max_tokens", "asks for nothing"},
      {kText, WithPrompt(R"("max_tokens": 18446744073709551615)"), "max_tokens", "must be in 0 to"},
      {kText, WithPrompt(R"("temperature": "hot")"), "temperature", "must be a number, but is a"},
      {kText, WithPrompt(R"("temperature": true)"), "temperature", "must be a number"},
      {kText, WithPrompt(R"("top_k": -2)"), "top_k", "must be in -1 to"},
      {kText, WithPrompt(R"("stream": 1)"), "stream", "must be true or false, but is a number (1)"},
      {kText, WithPrompt(R"("stream_options": {})"), "stream_options", "needs \"stream\": true"},
      {kText, WithPrompt(R"("stream": true, "stream_options": 1)"), "stream_options", "an object"},
      {kText, WithPrompt(R"("n": 0)"), "n", "in 1 to"},
      {kText, WithPrompt(R"("n": 5000)"), "n", "in 1 to 4096"},
      {kText, WithPrompt(R"("n": 2, "best_of": 1)"), "best_of", "at least n"},
      {kText, WithPrompt(R"("best_of": 2, "stream": true)"), "best_of", "with stream"},
      {kText, WithPrompt(R"("logprobs": true)"), "logprobs", "must be an integer"},
      {kText, WithPrompt(R"("stop": ")" + std::string(4097, 'x') + '"'), "stop", "4097 bytes"},
      {kText, WithPrompt(R"("stop_token_ids": [1, 1.5])"), "stop_token_ids", "entry 1 is a number"},
      {kText, WithPrompt(R"("stop_token_ids": [1, [2]])"), "stop_token_ids", "entry 1 is a list"},
      {kText, WithPrompt(R"("n": 9223372036854775808)"), "n", "in 1 to 4096"},
      {kText, WithPrompt(R"("logprobs": -1)"), "logprobs", "in 0 to"},
      {kText, WithPrompt(R"("bad_words": "a")"), "bad_words", "must be a list of at most 256"},
      {kText, WithPrompt(R"("bad_words": ["a", 5])"), "bad_words", "entry 1 is a number"},
      {kText, WithPrompt(R"("bad_words": ["a", " "])"), "bad_words", "an empty word"},
      {kText, WithPrompt(R"("allowed_token_ids": [])"), "allowed_token_ids", "allows nothing"},
      {kText, WithPrompt(R"("allowed_token_ids": ["a"])"), "allowed_token_ids", "entry 0 is a str"},
      {kText, WithPrompt(R"("prompt_logprobs": -1)"), "prompt_logprobs", "in 0 to"},
      {kText, WithPrompt(R"("prompt_logprobs": 1, "stream": true)"), "prompt_logprobs", "stream"},
      {kText, WithPrompt(R"("truncate_prompt_tokens": 0)"), "truncate_prompt_tokens", "no prompt"},
      {kText, WithPrompt(R"("truncate_prompt_tokens": -2)"), "truncate_prompt_tokens", "in -1 to"},
      {kText, WithPrompt(R"("skip_special_tokens": 0)"), "skip_special_tokens", "true or false"},
      {kText, WithPrompt(R"("spaces_between_special_tokens": 0)"), "spaces_between_special_tokens",
       "true or false"},
      {kText, WithPrompt(R"("include_stop_str_in_output": "x")"), "include_stop_str_in_output",
       "true or false"},
      {kText, WithPrompt(R"("return_token_ids": 1)"), "return_token_ids", "true or false"},
      {kText, WithPrompt(R"("request_id": 1)"), "request_id", "a string"},
      {kText, WithPrompt(R"("request_id": ")" + std::string(129, 'x') + '"'), "request_id", "128"},
      {kText, WithPrompt(R"("seed": 18446744073709551616)"), "seed",
       "at most 64 bits, but is 1.8446"},
      {kText, WithPrompt(R"("stream": true, "stream_options": {"include_usage": 5})"),
       "stream_options.include_usage", "stream_options.include_usage must be true or false"},
      {kText, WithPrompt(R"("structured_outputs": {"json_object": 5})"),
       "structured_outputs.json_object", "must be true or false"},
      {kText, WithPrompt(R"("structured_outputs": {"grammar": "x"})"), "structured_outputs",
       "structured_outputs.grammar is not supported"},
      {kText, WithPrompt(R"("cache_salt": "x")"), "cache_salt", "--no-prefix-cache"},
      {kText, WithPrompt(R"("prompt_embeds": "x")"), "prompt_embeds", "not supported"},
      {kText, WithPrompt(R"("logits_processors": ["x"])"), "logits_processors", "not supported"},
      {kText, WithPrompt(R"("vllm_xargs": {"a": 1})"), "vllm_xargs", "not supported"},
      {kText, WithPrompt(R"("kv_transfer_params": {"a": 1})"), "kv_transfer_params", "not supp"},
      {kText, WithPrompt(R"("guided_whitespace_pattern": " ")"), "guided_whitespace_pattern",
       "not supported"},
      {kText, WithPrompt(R"("grammar": "root ::= x")"), "grammar", "guided_json"},
      {kText, WithPrompt(R"("stream": true, "stream_options": {"continuous_usage_stats": 1})"),
       "stream_options.continuous_usage_stats", "true or false"},
      {kText, WithPrompt(R"("structured_outputs": {"json": {}, "whitespace_pattern": " "})"),
       "structured_outputs", "structured_outputs.whitespace_pattern is not"},
      {kText, WithPrompt(R"("structured_outputs": {"json": 5})"), "structured_outputs.json",
       "structured_outputs.json must be a JSON schema"},
      {kText, WithPrompt(R"("add_special_tokens": 1)"), "add_special_tokens", "true or false"},
      {kText, WithPrompt(R"("guided_json": true)"), "guided_json", "an object"},
      {kText, WithPrompt(R"("structured_outputs": {"regex": 5})"), "structured_outputs.regex",
       "structured_outputs.regex must be a string"},
      {kText, WithPrompt(R"("structured_outputs": {"choice": []})"), "structured_outputs.choice",
       "must be a list"},
      {kChat, WithMessage(R"("echo": true)"), "echo", "not supported"},
      {kChat, WithMessage(R"("chat_template": "{{1}}")"), "chat_template", "model's own"},
      {kChat, WithMessage(R"("modalities": ["audio"])"), "modalities", "answers are text"},
      {kChat, WithMessage(R"("tools": [{"function": {"name": "f", "parameters": 5}}])"), "tools",
       "tools[0].function.parameters must be"},
      {kChat, WithMessage(R"("tools": [{"function": {"name": "f", "description": 5}}])"), "tools",
       "tools[0].function.description must be"},
      {kChat, R"({"messages": [{"role": "", "content": "x"}]})", "messages", "messages[0].role is"},
      {kChat, R"({"messages": [{"role": "wizard", "content": "x"}]})", "messages",
       "role is \"wizard\", but must be one of system, developer, user, assistant, tool, function"},
      {kChat, WithMessage(R"("continue_final_message": true, "add_generation_prompt": true)"),
       "continue_final_message", "cannot both be true"},
      {kChat, WithMessage(R"("reasoning_effort": 5)"), "reasoning_effort", "a string"},
      {kChat, WithMessage(R"("include_reasoning": false)"), "include_reasoning", "not supported"},
      {kChat, WithMessage(R"("function_call": "auto")"), "function_call", "tool_choice"},
      {kChat, WithMessage(R"("verbosity": "low")"), "verbosity", "not supported"},
      {kChat, WithMessage(R"("best_of": 2)"), "best_of", "/v1/completions"},
      {kChat, WithMessage(R"("documents": [{"text": "x"}])"), "documents", "not supported"},
      {kChat, WithMessage(R"("tools": [{"function": {"name": "f", "parameters": {"type": 5}}}])"),
       "tools", "tools[0].function.parameters.type must be \"object\""},
      {kChat, WithMessage(R"("tools": [{"function": {"name": "f", "parameters":
                             {"type": "foo"}}}])"),
       "tools", "tools[0].function.parameters.type must be \"object\""},
      {kChat, WithMessage(R"("tools": [{"function": {"name": "f", "parameters":
                             {"properties": 5}}}])"),
       "tools", "parameters.properties must be"},
      {kChat, WithMessage(R"("tools": [{"function": {"name": "f", "parameters":
                             {"required": 5}}}])"),
       "tools", "parameters.required must be"},
      {kChat, R"({"messages": [{"role": "user", "name": 5}]})", "messages",
       "name must be a string"},
      {kText, WithPrompt(R"("stop": 5)"), "stop", "but is a number"},
      {kText, WithPrompt(R"("stop": ["a", null])"), "stop", "its entry 1 is null"},
      {kText, WithPrompt(R"("stop_token_ids": ["a"])"), "stop_token_ids", "list of token ids"},
      {kText, WithPrompt(R"("logit_bias": [1])"), "logit_bias", "but is a list"},
      {kText, WithPrompt(R"("logit_bias": {"a": 1})"), "logit_bias", "no token id"},
      {kText, WithPrompt(R"("logit_bias": {"1": "a"})"), "logit_bias", "is a string"},
      {kText, WithPrompt(R"("logit_bias": {"1": 101})"), "logit_bias", "-100 to 100"},
      {kText, WithPrompt(R"("seed": "a")"), "seed", "must be an integer"},
      {kText, WithPrompt(R"("priority": 1.5)"), "priority", "must be an integer"},
      {kText, WithPrompt(R"("user": 7)"), "user", "must be a string"},
      {kText, WithPrompt(R"("user": ")" + std::string(257, 'u') + '"'), "user",
       "at most 256 bytes"},
      {kText, WithPrompt(R"("timeout": 0)"), "timeout", "above 0"},
      {kText, WithPrompt(R"("timeout": 1e30)"), "timeout", "at most 1000000"},
      {kText, WithPrompt(R"("timeout": "1s")"), "timeout", "must be a number"},
      {kText, WithPrompt(R"("speculative": 4)"), "speculative", "must be an object"},
      {kText, WithPrompt(R"("speculative": {"method": "eagle"})"), "speculative", "no draft model"},
      {kText, WithPrompt(R"("speculative": {"num_tokens": 65})"), "speculative.num_tokens",
       "speculative.num_tokens is 65, but must be in 0 to 64"},
      {kText, WithPrompt(R"("num_speculative_tokens": -1)"), "num_speculative_tokens",
       "in 0 to 64"},
      {kText, WithPrompt(R"("suffix": "end")"), "suffix", "not supported"},
      {kText, WithPrompt(R"("use_beam_search": true)"), "use_beam_search", "not supported"},
      {kText, WithPrompt(R"("response_format": "json")"), "response_format", "json_object"},
      {kText, WithPrompt(R"("response_format": {"type": "xml"})"), "response_format",
       "json_schema"},
      {kText, WithPrompt(R"("response_format": {"type": "json_schema"})"), "response_format",
       "no json_schema.schema"},
      {kText, WithPrompt(R"("guided_regex": 1)"), "guided_regex", "must be a string"},
      {kText, WithPrompt(R"("guided_choice": [])"), "guided_choice", "a list of 1 to"},
      {kText, WithPrompt(R"("guided_choice": ["a", 1])"), "guided_choice", "a list of 1 to"},
      {kText, WithPrompt(R"("guided_json": "{")"), "guided_json", "no JSON object"},
      {kText, WithPrompt(R"("guided_grammar": "root ::= x")"), "guided_grammar", "not supported"},
      {kText, WithPrompt(R"("structured_outputs": {"structural_tag": 1})"), "structured_outputs",
       "not supported"},
      {kText, WithPrompt(R"("guided_regex": "a", "structured_outputs": {"regex": "b"})"),
       "structured_outputs.regex", "not the only field"},
      {kChat, "{}", "messages", "is missing"},
      {kChat, R"({"messages": []})", "messages", "is empty"},
      {kChat, R"({"messages": "hi"})", "messages", "is a string"},
      {kChat, R"({"messages": [1]})", "messages", "messages[0] must be an object"},
      {kChat, R"({"messages": [{"content": "x"}]})", "messages", "with a role"},
      {kChat, R"({"messages": [{"role": 1}]})", "messages", "with a role"},
      {kChat, R"({"messages": [{"role": "user", "content": 1}]})", "messages", "a list of parts"},
      {kChat, R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})", "messages",
       "reads text only"},
      {kChat, R"({"messages": [{"role": "user", "content": ["x"]}]})", "messages", "text only"},
      {kChat, WithMessage(R"("max_tokens": 0)"), "max_tokens", "in 1 to"},
      {kChat, WithMessage(R"("max_completion_tokens": "x")"), "max_completion_tokens", "integer"},
      {kChat, WithMessage(R"("logprobs": 1)"), "logprobs", "true or false"},
      {kChat, WithMessage(R"("top_logprobs": 2)"), "top_logprobs", "needs \"logprobs\": true"},
      {kChat, WithMessage(R"("tools": {})"), "tools", "must be a list"},
      {kChat, WithMessage(R"("tools": [{"type": "function"}])"), "tools", "tools[0] must be"},
      {kChat, WithMessage(R"("tools": [{"type": "web_search"}])"), "tools", "no other tools"},
      {kChat, WithMessage(R"("tools": [{"function": {"name": "a"}}, {"function": {"name": "a"}}])"),
       "tools", "another tool has already"},
      {kChat, WithMessage(R"("tool_choice": "required")"), "tool_choice", "there are no tools"},
      {kChat, WithMessage(R"("tools": [{"function": {"name": "a"}}], "tool_choice": "b")"),
       "tool_choice", "must be \"none\""},
      {kChat, WithMessage(R"("tools": [{"function": {"name": "a"}}],
                             "tool_choice": {"function": {"name": "b"}})"),
       "tool_choice", "not among the tools"},
      {kChat, WithMessage(R"("tools": [{"function": {"name": "a"}}], "tool_choice": "required",
                             "response_format": {"type": "json_object"})"),
       "tool_choice", "another field"},
      {kChat, R"({"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]})", "messages",
       "must hold calls"},
      {kChat,
       R"({"messages": [{"role": "assistant",
           "tool_calls": [{"function": {"name": "a", "arguments": "{"}}]}]})",
       "messages", "no JSON object"},
      {kChat, WithMessage(R"("chat_template_kwargs": 1)"), "chat_template_kwargs", "an object"},
  };
  for (const Refusal& refusal : refusals) {
    SCOPED_TRACE(refusal.body.substr(0, 100));
    GenerationRequest request;
    const std::optional<ApiError> found = ParseBoth(refusal.form, refusal.body, &request);
    ASSERT_TRUE(found);
    const ApiError error = found.value_or(ApiError());
    EXPECT_EQ(error.status, 400);
    EXPECT_EQ(error.param, refusal.param) << error.message;
    EXPECT_THAT(error.message, HasSubstr(refusal.part));
    EXPECT_LT(error.message.size(), 400u);
    const Json json = Json::parse(ErrorJson(error));
    EXPECT_EQ(json["error"]["type"], "invalid_request_error");
    EXPECT_EQ(json["error"]["message"].is_string(), true);
    EXPECT_TRUE(json["error"].contains("param") && json["error"].contains("code"));
  }
}

// The parser compares names one by one: bodies of which that would take long are not parsed at all.
TEST(GenerationRequestTest, ManyMembersAreReadOrRefusedSoon) {
  const auto body = [](int members, size_t name_bytes) {
    std::string text = R"({"prompt": "x", "logit_bias": {)";
    for (int i = 0; i < members; ++i) {
      std::string name = std::to_string(i);
      name.insert(0, std::max(name.size(), name_bytes) - name.size(), '0');
      text += (i > 0 ? ",\"" : "\"") + name + "\": 1";
    }
    return text + "}}";
  };
  GenerationRequest request;
  EXPECT_EQ(MessageOf(ParseCompletionRequest(body(5000, 0), &request)), "");
  EXPECT_EQ(request.sampling.logit_bias.size(), 5000u);
  for (const auto& [members, name_bytes] : {std::pair(400'000, 0), std::pair(5000, 2000)}) {
    const std::string text = body(members, static_cast<size_t>(name_bytes));
    const auto start = std::chrono::steady_clock::now();
    EXPECT_THAT(MessageOf(ParseCompletionRequest(text, &request)), HasSubstr("too many members"));
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  }
}

TEST(ChatRequestTest, MessagesBecomeText) {
  GenerationRequest request;
  const auto error = ParseChatRequest(
      R"({"messages": [{"role": "system", "content": [{"type": "text", "text": "a"},
                                                      {"type": "text", "text": "b"}]},
                       {"role": "user", "content": "c", "name": "Ada"},
                       {"role": "assistant", "content": null}],
          "max_tokens": 3, "max_completion_tokens": 5, "logprobs": true, "top_logprobs": 2,
          "tools": [], "response_format": {"type": "text"}, "stop": "x",
          "chat_template_kwargs": {"thinking": false}})",
      &request);
  ASSERT_FALSE(error) << MessageOf(error);
  EXPECT_EQ(request.messages[0]["content"], "a\nb");
  EXPECT_EQ(request.messages[1]["content"], "c");
  EXPECT_EQ(request.messages[1]["name"], "Ada");
  EXPECT_EQ(request.messages[2]["content"], "");
  EXPECT_EQ(request.sampling.max_tokens, 5);
  EXPECT_TRUE(request.has_max_tokens);
  EXPECT_EQ(request.logprobs, 2);
  EXPECT_EQ(request.template_arguments["thinking"], false);
}

TEST(ChatRequestTest, TemplateFields) {
  struct Case {
    const char* field;
    bool begins, goes_on;
  };
  for (const Case& c :
       {Case{R"("x": 1)", true, false}, Case{R"("add_generation_prompt": false)", false, false},
        Case{R"("continue_final_message": true)", false, true},
        Case{R"("continue_final_message": true, "add_generation_prompt": false)", false, true}}) {
    SCOPED_TRACE(c.field);
    GenerationRequest request;
    ASSERT_FALSE(ParseChatRequest(WithMessage(c.field), &request));
    EXPECT_EQ(request.add_generation_prompt, c.begins);
    EXPECT_EQ(request.continue_final_message, c.goes_on);
  }
  GenerationRequest request;
  ASSERT_FALSE(ParseChatRequest(WithMessage(R"("reasoning_effort": "low")"), &request));
  EXPECT_EQ(request.template_arguments["reasoning_effort"], "low");
}

TEST(ChatMessagesTest, FinalMessageIsMarkedAndCut) {
  Json marked;
  const Json messages =
      Json::parse(R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b "}])");
  ASSERT_FALSE(MarkFinalMessage(messages, &marked));
  EXPECT_EQ(marked[0], messages[0]);
  std::string prompt = "<a>" + marked[1]["content"].get<std::string>() + "<end>";
  ASSERT_FALSE(CutAtMark(&prompt));
  EXPECT_EQ(prompt, "<a>b ");
  EXPECT_TRUE(CutAtMark(&prompt)) << "there is no mark left";
  const Json empty = Json::parse(R"([{"role": "assistant", "content": " \n"}])");
  EXPECT_THAT(MessageOf(MarkFinalMessage(empty, &marked)), HasSubstr("message with text"));
}

TEST(ChatRequestTest, ToolsAndCalls) {
  GenerationRequest request;
  const auto error = ParseChatRequest(
      R"({"messages": [{"role": "user", "content": "x"},
                       {"role": "assistant", "content": null, "tool_calls": [
                         {"id": "1", "type": "function",
                          "function": {"name": "add", "arguments": "{\"a\": 1}"}}]},
                       {"role": "tool", "tool_call_id": "1", "content": "2"}],
          "tools": [{"type": "function", "function": {"name": "add", "description": "adds",
                     "parameters": {"type": "object"}}},
                    {"type": "function", "function": {"name": "now"}}],
          "tool_choice": {"type": "function", "function": {"name": "now"}},
          "parallel_tool_calls": false})",
      &request);
  ASSERT_FALSE(error) << MessageOf(error);
  EXPECT_EQ(request.messages[1]["tool_calls"][0]["function"]["arguments"]["a"], 1);
  EXPECT_EQ(request.messages[1]["content"], "");
  EXPECT_EQ(request.messages[2]["tool_call_id"], "1");
  EXPECT_EQ(request.tools.choice, ToolChoice::kNamed);
  EXPECT_FALSE(request.tools.parallel);
  const ConstraintSpec spec = ConstraintOf(request.tools, CallForm::kHermes);
  ASSERT_EQ(spec.functions.size(), 1u);
  EXPECT_EQ(spec.functions[0].name, "now");
  EXPECT_EQ(spec.form, CallForm::kArguments);
}

TEST(GenerationRequestTest, FormsOfAnswers) {
  using Kind = ConstraintSpec::Kind;
  struct Case {
    const char* field;
    Kind kind;
  };
  for (const Case& c : {
           Case{R"("response_format": {"type": "text"})", Kind::kNone},
           Case{R"("response_format": {"type": "json_object"})", Kind::kJsonObject},
           Case{R"("response_format": {"type": "json_schema", "json_schema": {"name": "n",
                "strict": true, "schema": {"type": "null"}}})",
                Kind::kJsonSchema},
           Case{R"("guided_json": {"type": "null"})", Kind::kJsonSchema},
           Case{R"("guided_json": "{\"type\": \"null\"}")", Kind::kJsonSchema},
           Case{R"("guided_regex": "a+")", Kind::kRegex},
           Case{R"("guided_choice": ["a", "b"])", Kind::kChoice},
           Case{R"("structured_outputs": {"choice": ["a", "b"]})", Kind::kChoice},
           Case{R"("structured_outputs": {"json": {"type": "null"}})", Kind::kJsonSchema},
           Case{R"("structured_outputs": {"json_object": true})", Kind::kJsonObject},
       }) {
    SCOPED_TRACE(c.field);
    GenerationRequest request;
    const auto error = ParseCompletionRequest(WithPrompt(c.field), &request);
    ASSERT_FALSE(error) << MessageOf(error);
    EXPECT_EQ(request.constraint.kind, c.kind);
    if (c.kind == Kind::kJsonSchema) {
      EXPECT_EQ(request.constraint.schema["type"], "null");
    }
  }
}

TEST(ApiErrorTest, EngineMessagesNameTheirField) {
  struct Case {
    const char* message;
    const char* param;
  };
  for (const Case& c : {Case{"temperature is -1, but must be at least 0.", "temperature"},
                        Case{"The prompt has no tokens; give at least one.", "prompt"},
                        Case{"a token of logit_bias is 9, but must be less.", "logit_bias"},
                        Case{"Something else is wrong.", ""}}) {
    EXPECT_EQ(ApiError::FromEngine(InvalidArgument(c.message)).param, c.param) << c.message;
  }
  EXPECT_EQ(ApiError::FromEngine(Internal("x")).status, 500);
  EXPECT_EQ(ApiError::FromEngine(OutOfMemory("x")).status, 503);
}

}  // namespace
}  // namespace tessera
