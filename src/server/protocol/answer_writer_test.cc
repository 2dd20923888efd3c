#include "server/protocol/answer_writer.h"

#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace tessera {
namespace {

// Token 0 is special; 1: "a", 2: "b", 3: "ab"; 4 and 5 are the two bytes of "é".
constexpr const char* kTokenizer = R"({
  "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
  "added_tokens": [{"id": 0, "content": "<s>", "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": true}],
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                    "use_regex": false},
  "post_processor": null,
  "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
              "use_regex": false},
  "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "vocab": {"<s>": 0, "a": 1, "b": 2, "ab": 3, "Ã": 4, "©": 5},
            "merges": ["a b"]}})";

std::unique_ptr<Tokenizer> MakeTokenizer() {
  auto tokenizer = Tokenizer::Parse(kTokenizer);
  EXPECT_TRUE(tokenizer.ok()) << (tokenizer.ok() ? "" : tokenizer.error().message);
  return tokenizer.ok() ? std::move(tokenizer).value() : nullptr;
}

TokenLogprob Entry(int32_t token, float logprob, std::vector<std::pair<int32_t, float>> top = {}) {
  return {token, logprob, 1, std::move(top)};
}

GenerationRequest Scoring() {
  GenerationRequest request;
  request.prompts = {{true, "aab", {0, 1, 3}}};
  request.echo = true;
  request.logprobs = 1;
  return request;
}

RequestUpdate Scored() {
  RequestUpdate result;
  result.prompt_logprobs = {TokenLogprob(), Entry(1, -0.25f, {{1, -0.25f}}),
                            Entry(3, -2.5f, {{2, -0.125f}})};
  result.text = "b";
  result.tokens = {2};
  result.logprobs = {Entry(2, -1.0f, {{2, -1.0f}})};
  result.finish = FinishReason::kLength;
  result.cached_tokens = 2;
  return result;
}

// What a harness sums: prompt and exactly one token, null first, the token itself and the likeliest
// one in every entry, the same number in both places.
TEST(AnswerWriterTest, ScoresOfEchoedPrompts) {
  const auto tokenizer = MakeTokenizer();
  const GenerationRequest request = Scoring();
  AnswerWriter writer(request, tokenizer.get(), {"cmpl-1", "m", 5});
  const Json json = Json::parse(writer.Whole({Scored()}));
  EXPECT_EQ(json["object"], "text_completion");
  EXPECT_EQ(json["id"], "cmpl-1");
  EXPECT_EQ(json["created"], 5);
  const Json& choice = json["choices"][0];
  EXPECT_EQ(choice["text"], "aabb");
  EXPECT_EQ(choice["finish_reason"], "length");
  const Json& logprobs = choice["logprobs"];
  EXPECT_EQ(logprobs["tokens"], Json({"<s>", "a", "ab", "b"}));
  EXPECT_EQ(logprobs["token_logprobs"], Json({nullptr, -0.25, -2.5, -1.0}));
  EXPECT_EQ(logprobs["top_logprobs"][0], nullptr);
  EXPECT_EQ(logprobs["top_logprobs"][1], Json({{"a", -0.25}}));
  EXPECT_EQ(logprobs["top_logprobs"][2], Json({{"ab", -2.5}, {"b", -0.125}}));
  EXPECT_EQ(logprobs["top_logprobs"][3], Json({{"b", -1.0}}));
  EXPECT_EQ(logprobs["text_offset"], Json({0, 0, 1, 3}));
  EXPECT_EQ(json["usage"], Json({{"prompt_tokens", 3},
                                 {"completion_tokens", 1},
                                 {"total_tokens", 4},
                                 {"prompt_tokens_details", {{"cached_tokens", 2}}}}));
}

// vLLM's form.
TEST(AnswerWriterTest, PromptLogprobsAndTokenIds) {
  const auto tokenizer = MakeTokenizer();
  GenerationRequest request = Scoring();
  request.echo = false;
  request.prompt_logprobs = 1;
  request.return_token_ids = true;
  const Json expected = Json::parse(R"([null,
      {"1": {"logprob": -0.25, "rank": 1, "decoded_token": "a"}},
      {"3": {"logprob": -2.5, "rank": 1, "decoded_token": "ab"},
       "2": {"logprob": -0.125, "rank": 1, "decoded_token": "b"}}])");
  AnswerWriter writer(request, tokenizer.get(), {"cmpl-1", "m", 5});
  const Json choice = Json::parse(writer.Whole({Scored()}))["choices"][0];
  EXPECT_EQ(choice["prompt_logprobs"], expected);
  EXPECT_EQ(choice["prompt_token_ids"], Json({0, 1, 3}));
  EXPECT_EQ(choice["token_ids"], Json({2}));
  EXPECT_EQ(choice["logprobs"]["tokens"].size(), 1u);

  request.form = AnswerForm::kChat;
  AnswerWriter chat(request, tokenizer.get(), {"chatcmpl-1", "m", 5});
  const Json json = Json::parse(chat.Whole({Scored()}));
  EXPECT_EQ(json["prompt_logprobs"], expected);
  EXPECT_EQ(json["prompt_token_ids"], Json({0, 1, 3}));
  EXPECT_EQ(json["choices"][0]["token_ids"], Json({2}));

  // In a stream tokens are sent even if they make no text yet.
  request.prompt_logprobs.reset();
  request.logprobs.reset();
  RequestUpdate silent;
  silent.tokens = {4};
  AnswerWriter stream(request, tokenizer.get(), {"chatcmpl-1", "m", 5});
  const std::string events = stream.Events(0, silent);
  EXPECT_NE(events.find(R"(],"prompt_token_ids":[0,1,3]})"), std::string::npos) << events;
  EXPECT_NE(events.find(R"("token_ids":[4])"), std::string::npos) << events;
}

TEST(AnswerWriterTest, AnEndTokenKeepsItsEntry) {
  const auto tokenizer = MakeTokenizer();
  const GenerationRequest request = Scoring();
  RequestUpdate result = Scored();
  result.text = "";
  result.tokens = {0};
  result.logprobs = {Entry(0, -0.5f)};
  result.finish = FinishReason::kStop;
  AnswerWriter writer(request, tokenizer.get(), {"cmpl-1", "m", 5});
  const Json choice = Json::parse(writer.Whole({result}))["choices"][0];
  EXPECT_EQ(choice["text"], "aab");
  EXPECT_EQ(choice["finish_reason"], "stop");
  EXPECT_EQ(choice["logprobs"]["token_logprobs"].size(), 4u);
  EXPECT_EQ(choice["logprobs"]["tokens"][3], "<s>");
}

TEST(AnswerWriterTest, OnlyThePromptWithMaxTokensZero) {
  const auto tokenizer = MakeTokenizer();
  GenerationRequest request = Scoring();
  request.generates = false;
  AnswerWriter writer(request, tokenizer.get(), {"cmpl-1", "m", 5});
  const Json json = Json::parse(writer.Whole({Scored()}));
  EXPECT_EQ(json["choices"][0]["text"], "aab");
  EXPECT_EQ(json["choices"][0]["logprobs"]["tokens"].size(), 3u);
  EXPECT_EQ(json["usage"]["completion_tokens"], 0);
}

TEST(AnswerWriterTest, NumbersAndNamesThatJsonLacks) {
  const auto tokenizer = MakeTokenizer();
  GenerationRequest request;
  request.prompts = {{false, "", {1}}};
  request.logprobs = 2;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  RequestUpdate result;
  result.tokens = {4, 5, 77};
  result.logprobs = {Entry(4, -kInfinity, {{5, -0.5f}}), Entry(5, -0.25f),
                     Entry(77, std::numeric_limits<float>::quiet_NaN())};
  AnswerWriter writer(request, tokenizer.get(), {"cmpl-1", "m", 5});
  const Json logprobs = Json::parse(writer.Whole({result}))["choices"][0]["logprobs"];
  EXPECT_EQ(logprobs["tokens"], Json({"bytes:\\xc3", "bytes:\\xa9", "token_id:77"}));
  EXPECT_EQ(logprobs["token_logprobs"], Json({-9999.0, -0.25, -9999.0}));
  EXPECT_EQ(logprobs["top_logprobs"][0], Json({{"bytes:\\xc3", -9999.0}, {"bytes:\\xa9", -0.5}}));
  EXPECT_EQ(logprobs["text_offset"], Json({0, 1, 1}));
}

TEST(AnswerWriterTest, TokensAsIds) {
  GenerationRequest request;
  request.prompts = {{false, "", {1}}};
  request.logprobs = 0;
  request.tokens_as_ids = true;
  RequestUpdate result;
  result.tokens = {2};
  result.logprobs = {Entry(2, -0.5f)};
  AnswerWriter writer(request, nullptr, {"cmpl-1", "m", 5});
  const Json logprobs = Json::parse(writer.Whole({result}))["choices"][0]["logprobs"];
  EXPECT_EQ(logprobs["tokens"], Json({"token_id:2"}));
  EXPECT_EQ(logprobs["top_logprobs"][0], Json({{"token_id:2", -0.5}}));
}

TEST(AnswerWriterTest, BestOfKeepsTheLikeliestOfEachPrompt) {
  GenerationRequest request;
  request.prompts = {{false, "", {1}}, {false, "", {2, 3}}};
  request.n = 2;
  request.best_of = 3;
  std::vector<RequestUpdate> results(6);
  const float means[] = {-3, -1, -2, -0.5f, -9, -0.25f};
  for (size_t i = 0; i < results.size(); ++i) {
    results[i].text = std::string(1, static_cast<char>('p' + i));
    results[i].tokens = {1, 2};
    results[i].logprobs = {Entry(1, means[i]), Entry(2, means[i])};
    results[i].finish = FinishReason::kStop;
  }
  AnswerWriter writer(request, nullptr, {"cmpl-1", "m", 5});
  const Json json = Json::parse(writer.Whole(results));
  std::string texts;
  for (size_t i = 0; i < json["choices"].size(); ++i) {
    EXPECT_EQ(json["choices"][i]["index"], i);
    EXPECT_EQ(json["choices"][i]["logprobs"], nullptr);
    texts += json["choices"][i]["text"].get<std::string>();
  }
  EXPECT_EQ(texts, "qrus");
  EXPECT_EQ(json["usage"]["prompt_tokens"], 3);
  EXPECT_EQ(json["usage"]["completion_tokens"], 12);
}

TEST(AnswerWriterTest, ChatForm) {
  const auto tokenizer = MakeTokenizer();
  GenerationRequest request;
  request.form = AnswerForm::kChat;
  request.prompts = {{true, "a", {1}}};
  request.logprobs = 1;
  RequestUpdate result;
  result.text = "é";
  result.tokens = {4, 5};
  result.logprobs = {Entry(4, -0.5f, {{1, -0.25f}}), Entry(5, -1.0f)};
  result.finish = FinishReason::kStop;
  AnswerWriter writer(request, tokenizer.get(), {"chatcmpl-1", "m", 5});
  const Json json = Json::parse(writer.Whole({result}));
  EXPECT_EQ(json["object"], "chat.completion");
  const Json& choice = json["choices"][0];
  EXPECT_EQ(choice["message"], Json({{"role", "assistant"}, {"content", "é"}}));
  EXPECT_EQ(choice["finish_reason"], "stop");
  const Json& content = choice["logprobs"]["content"];
  ASSERT_EQ(content.size(), 2u);
  EXPECT_EQ(content[0]["token"], "bytes:\\xc3");
  EXPECT_EQ(content[0]["bytes"], Json::array({0xc3}));
  EXPECT_EQ(content[0]["top_logprobs"][0]["token"], "a");
}

std::vector<Json> EventsOf(const std::string& text) {
  std::vector<Json> events;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = text.find("\n\n", begin);
    EXPECT_NE(end, std::string::npos);
    const std::string event = text.substr(begin, end - begin);
    EXPECT_TRUE(event.starts_with("data: ")) << event;
    EXPECT_EQ(event.find('\n'), std::string::npos);
    events.push_back(event == "data: [DONE]" ? Json("done") : Json::parse(event.substr(6)));
    begin = end + 2;
  }
  return events;
}

TEST(AnswerWriterTest, ChatStream) {
  GenerationRequest request;
  request.form = AnswerForm::kChat;
  request.prompts = {{true, "a", {1}}};
  request.n = request.best_of = 2;
  request.stream = request.include_usage = true;
  AnswerWriter writer(request, nullptr, {"chatcmpl-1", "m", 5});
  RequestUpdate update;
  update.text = "line\n\nbreaks";
  update.tokens = {1};
  auto events = EventsOf(writer.Events(1, update));
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0]["object"], "chat.completion.chunk");
  EXPECT_EQ(events[0]["choices"][0]["delta"], Json({{"role", "assistant"}, {"content", ""}}));
  EXPECT_EQ(events[1]["choices"][0]["index"], 1);
  EXPECT_EQ(events[1]["choices"][0]["delta"], Json({{"content", "line\n\nbreaks"}}));
  EXPECT_EQ(events[1]["choices"][0]["finish_reason"], nullptr);

  update.text = "";  // a token whose text is not certain yet
  EXPECT_EQ(writer.Events(1, update), "");
  update.finish = FinishReason::kLength;
  events = EventsOf(writer.Events(1, update));
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0]["choices"][0]["delta"], Json::object());
  EXPECT_EQ(events[0]["choices"][0]["finish_reason"], "length");

  events = EventsOf(writer.LastEvents());
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0]["choices"], Json::array());
  EXPECT_EQ(events[0]["usage"]["completion_tokens"], 3);
  EXPECT_EQ(events[1], "done");
}

TEST(AnswerWriterTest, StreamOfAnEchoedPrompt) {
  const auto tokenizer = MakeTokenizer();
  GenerationRequest request = Scoring();
  request.stream = true;
  AnswerWriter writer(request, tokenizer.get(), {"cmpl-1", "m", 5});
  RequestUpdate first = Scored();
  first.finish = FinishReason::kNone;
  auto events = EventsOf(writer.Events(0, first));
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0]["choices"][0]["text"], "aabb");
  EXPECT_EQ(events[0]["choices"][0]["logprobs"]["tokens"].size(), 4u);
  RequestUpdate second;
  second.tokens = {1};
  second.text = "a";
  second.logprobs = {Entry(1, -1)};
  second.finish = FinishReason::kStop;
  events = EventsOf(writer.Events(0, second));
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0]["choices"][0]["text"], "a");
  EXPECT_EQ(events[0]["choices"][0]["logprobs"]["text_offset"], Json::array({4}));
  EXPECT_EQ(writer.LastEvents(), kSseEnd);
}

}  // namespace
}  // namespace tessera
