// A streamed answer is the whole one, however its text is split.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "server/protocol/answer_writer.h"
#include "server/testing/assembled_answer.h"

namespace tessera {
namespace {

using testing::Assemble;
using testing::AssembledAnswer;

ToolOptions Options(ToolChoice choice = ToolChoice::kAuto) {
  ToolOptions options;
  options.functions = {{"add", nullptr}, {"now", nullptr}, {"größe", nullptr}};
  options.choice = choice;
  options.name = "add";
  return options;
}

const std::vector<std::string>& Texts() {
  static const std::vector<std::string> texts = {
      "",
      "Two plus two is 4 <b>é</b>.",
      "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n</tool_call>",
      "Well. <tool_call>{\"name\":\"add\",\"arguments\":{\"a\":\"{}[]\\\"\\\\\"}}</tool_call>\n"
      "<tool_call>{\"name\":\"größe\",\"arguments\":{\"ä\":[{\"€\":\"😀\"},null,-1e5]}}</"
      "tool_call>",
      "<tool_call>{\"arguments\": {\"x\": \"</tool_call>\"}, \"name\": \"now\"}</tool_call> ok",
      "<tool_call>{\"name\": \"add\", \"arguments\": \"{\\\"a\\\": \\u00e9}\"}</tool_call>",
      "<tool_call>{\"name\": \"nobody\", \"arguments\": {}}</tool_call>",
      "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\" 1,]}}</tool_call><tool_call>{",
      "<tool_call>no call</tool_call> <tool_call>{\"name\": \"now\"}</tool_call>",
      " {\"name\": \"add\", \"parameters\": { \"a\" : [ 1 , { } ] } } ; {\"name\": \"now\"} ",
      "[{\"name\": \"add\", \"arguments\": {}}, {\"name\": \"größe\", \"arguments\": {\"a\": 2}}] "
      "é",
      "{\"name\": \"nobody\", \"parameters\": {\"a\": 1}}",
      "{\"parameters\": {\"a\": \"😀\"}, \"type\": \"function\", \"name\": \"add\"}",
      "{\"answer\": [1, 2, {\"name\": \"add\"}]} <tool_call>{\"name\": \"now\"}",
  };
  return texts;
}

std::string Shown(const AssembledAnswer& answer) {
  std::string text = "content: " + answer.content;
  for (size_t i = 0; i < answer.names.size(); ++i) {
    text += "\n" + answer.names[i] + ": " + answer.arguments[i];
  }
  return text;
}

std::vector<std::string> PiecesOf(const std::string& text, size_t length) {
  std::vector<std::string> pieces;
  for (size_t i = 0; i < text.size(); i += length) pieces.push_back(text.substr(i, length));
  return pieces;
}

// Each text, cut off at each of its bytes, in two pieces and in pieces of one length.
TEST(ToolCallStreamTest, PiecesMakeTheWhole) {
  for (const ToolChoice choice :
       {ToolChoice::kAuto, ToolChoice::kRequired, ToolChoice::kNamed, ToolChoice::kNone}) {
    const ToolOptions options = Options(choice);
    for (const std::string& full : Texts()) {
      for (size_t size = 0; size <= full.size(); ++size) {
        const std::string text = full.substr(0, size);
        const AssembledAnswer whole = Assemble(options, {text}, /*is_utf8=*/false);
        for (size_t length = 1; length < 8; ++length) {
          const auto pieces = PiecesOf(text, length);
          const bool is_utf8 = testing::HasWholeCharacters(text);
          ASSERT_EQ(Shown(Assemble(options, pieces, is_utf8)), Shown(whole)) << text;
        }
        if (size % 8 != 0 && size != full.size()) continue;
        for (size_t split = 0; split < size; ++split) {
          const std::vector<std::string> pieces = {text.substr(0, split), "", text.substr(split)};
          ASSERT_EQ(Shown(Assemble(options, pieces, /*is_utf8=*/false)), Shown(whole)) << text;
        }
      }
    }
  }
}

// Texts that nobody thought of: what calls are made of, in any order, in pieces of any length.
TEST(ToolCallStreamTest, RandomTexts) {
  const std::vector<std::string> parts = {"<tool_call>",
                                          "</tool_call>",
                                          "{",
                                          "}",
                                          "[",
                                          "]",
                                          "\"",
                                          "\\",
                                          ",",
                                          ":",
                                          ";",
                                          " ",
                                          "\n",
                                          "<",
                                          "{\"name\": \"add\"",
                                          "\"name\"",
                                          ", \"arguments\": {",
                                          "\"parameters\"",
                                          "\"now\"",
                                          "\"a\": 1",
                                          "é",
                                          "😀",
                                          "null",
                                          "</tool",
                                          "{\"name\": \"add\", "
                                          "\"arguments\": {\"a\": \"x\"}}",
                                          "<tool_call>{\"name\": \"now\", \"arguments\": {"};
  const ToolOptions options = Options();
  std::mt19937 random(7);
  const auto below = [&](size_t bound) {
    return std::uniform_int_distribution<size_t>(0, bound - 1)(random);
  };
  size_t with_calls = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (size_t i = below(12); i > 0; --i) text += parts[below(parts.size())];
    std::vector<std::string> pieces;
    for (size_t at = 0; at < text.size();) {
      const size_t length = 1 + below(round % 2 == 0 ? 3 : 30);
      pieces.push_back(text.substr(at, length));
      at += length;
    }
    const AssembledAnswer whole = Assemble(options, {text});
    ASSERT_EQ(Shown(Assemble(options, pieces)), Shown(whole)) << text;
    // Nothing is made up: bytes that both kinds of parts have came once.
    size_t told = whole.content.size();
    for (const std::string& arguments : whole.arguments) {
      if (arguments != "{}") told += arguments.size();
    }
    ASSERT_LE(told, text.size()) << text;
    with_calls += whole.names.empty() ? 0 : 1;
  }
  EXPECT_GT(with_calls, 1000u);
}

// A call is given when it is certain, its arguments with each piece that has some.
TEST(ToolCallStreamTest, PartsComeAsSoonAsTheyAreCertain) {
  struct Step {
    std::string piece, told;
  };
  const std::vector<std::vector<Step>> answers = {
      {{"I ", "I "},
       {"add.\n<", "add.\n"},
       {"tool_call>\n{\"name\": \"a", ""},
       {"dd\", \"arguments\": {", ""},
       {"\"", "[0 add][0: {\"]"},
       {"a\": \"\xc3", "[0: a\": \"]"},
       {"\xa9", "[0: é]"},
       {"\"}", "[0: \"}]"},
       {"}\n</tool_call", ""},
       {">\n<tool_call>{\"name\": \"now\", \"arguments\": {}}", "[1 now][1: {}]"},
       {"</tool_call>x", "x"}},
      {{"{\"name\": \"now\"", ""},
       {", \"parameters\": {\"a\"", "[0 now][0: {\"a\"]"},
       {": 1}}; {\"name\": \"add\", \"parameters\": {}}", "[0: : 1}][1 add][1: {}]"}},
      {{"{\"name\": \"no", ""}, {"body\"", "{\"name\": \"nobody\""}, {", \"a\"", ", \"a\""}},
      {{"[", ""}, {"1", "[1"}, {",", ","}},
  };
  const ToolOptions options = Options();
  for (const auto& steps : answers) {
    ToolCallParser parser(options);
    for (const Step& step : steps) {
      const ParsedAnswer found = parser.Append(step.piece);
      std::string told = found.content;
      for (const ToolCallPart& part : found.calls) {
        told += "[" + std::to_string(part.index) +
                (part.begins ? " " + part.name : ": " + part.arguments) + "]";
      }
      EXPECT_EQ(told, step.told) << step.piece;
    }
  }
}

// Of eight times the text in pieces of one byte: 8 times the time, not 64 times.
TEST(ToolCallStreamTest, TimeGrowsWithTheText) {
  const ToolOptions options = Options();
  const std::vector<std::pair<std::string, std::string>> forms = {
      {R"(<tool_call>{"name": "add", "arguments": {"a": ")", "x"},
      {R"(<tool_call>{"arguments": {"a": ")", "x"},
      {R"(<tool_call>{"arguments": ")", "x"},
      {R"(<tool_call>{")", "x"},
      {R"({"name": "add", "parameters": {"a": ")", "x"},
      {R"({"answer": ")", "x"},
      {R"({"name": "add", "parameters": {"a":)", "["},
      {"", " "},
      {"", "<"},
      {"", "{\"name\":\"now\"}"},
      {"", "<tool_call>"},
      {"", "<tool_call>{\"name\":\""}};
  for (const auto& [begin, repeated] : forms) {
    const auto seconds = [&, &begin = begin, &repeated = repeated](size_t size) {
      std::string text = begin;
      while (text.size() < size) text += repeated;
      const auto start = std::chrono::steady_clock::now();
      ToolCallParser parser(options);
      for (const char c : text) parser.Append(std::string_view(&c, 1));
      parser.Finish();
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    double small = 1e9, large = 1e9;
    for (int round = 0; round < 5; ++round) {
      small = std::min(small, seconds(50'000));
      large = std::min(large, seconds(400'000));
    }
    EXPECT_LT(large, 30 * small) << begin << " and " << repeated;
  }
}

// The message that OpenAI's clients put together from the events, and the reason of the end.
Json MessageOf(const std::string& stream) {
  Json message = {{"role", nullptr}, {"content", ""}};
  Json reason;
  for (size_t at = 0; (at = stream.find("data: {", at)) != std::string::npos;) {
    const size_t end = stream.find("\n\n", at);
    const Json choice = Json::parse(stream.substr(at + 6, end - at - 6))["choices"][0];
    at = end;
    const Json& delta = choice["delta"];
    EXPECT_TRUE(reason.is_null()) << "nothing comes after the end";
    reason = choice["finish_reason"];
    if (delta.contains("role")) message["role"] = delta["role"];
    if (delta.contains("content")) {
      message["content"] =
          message["content"].get<std::string>() + delta["content"].get<std::string>();
    }
    if (!delta.contains("tool_calls")) continue;
    EXPECT_EQ(delta["tool_calls"].size(), 1u);
    const Json& part = delta["tool_calls"][0];
    if (part.contains("id")) {
      EXPECT_EQ(part["index"], message.value("tool_calls", Json::array()).size());
      EXPECT_EQ(part["function"]["arguments"], "");
      Json call = part;
      call.erase("index");
      message["tool_calls"].push_back(call);
    } else {
      EXPECT_EQ(part.size(), 2u) << part;
      EXPECT_EQ(part["function"].size(), 1u) << part;
      Json& arguments =
          message["tool_calls"].at(part["index"].get<size_t>())["function"]["arguments"];
      arguments = arguments.get<std::string>() + part["function"]["arguments"].get<std::string>();
    }
  }
  if (message.contains("tool_calls") && message["content"].get<std::string>().empty())
    message["content"] = nullptr;
  return {{"message", message}, {"finish_reason", reason}};
}

TEST(ToolCallStreamTest, EventsMakeTheMessage) {
  for (const FinishReason finish : {FinishReason::kStop, FinishReason::kLength}) {
    for (const std::string& text : Texts()) {
      GenerationRequest request;
      request.form = AnswerForm::kChat;
      request.prompts = {{true, "a", {1}}};
      request.tools = Options();
      RequestUpdate result;
      result.text = text;
      result.finish = finish;
      AnswerWriter whole_writer(request, nullptr, {"chatcmpl-1", "m", 5});
      const Json whole = Json::parse(whole_writer.Whole({result}))["choices"][0];
      const bool has_calls = whole["message"].contains("tool_calls");
      EXPECT_EQ(whole["finish_reason"], finish == FinishReason::kLength ? "length"
                                        : has_calls                     ? "tool_calls"
                                                                        : "stop");
      request.stream = true;
      for (const size_t length : {1, 5, 1000}) {
        for (const bool end_apart : {false, true}) {
          SCOPED_TRACE(text + " in pieces of " + std::to_string(length));
          AnswerWriter writer(request, nullptr, {"chatcmpl-1", "m", 5});
          std::string stream;
          std::vector<std::string> pieces = PiecesOf(text, length);
          if (end_apart || pieces.empty()) pieces.emplace_back();
          for (size_t i = 0; i < pieces.size(); ++i) {
            RequestUpdate update;
            update.text = pieces[i];
            if (i + 1 == pieces.size()) update.finish = finish;
            stream += writer.Events(0, update);
          }
          const Json streamed = MessageOf(stream);
          EXPECT_EQ(streamed["message"], whole["message"]);
          EXPECT_EQ(streamed["finish_reason"], whole["finish_reason"]);
        }
      }
    }
  }
}

}  // namespace
}  // namespace tessera
