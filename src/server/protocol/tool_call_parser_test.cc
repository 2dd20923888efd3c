#include "server/protocol/tool_call_parser.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tessera {
namespace {

ToolOptions Options(ToolChoice choice) {
  ToolOptions options;
  options.functions = {{"add", nullptr}, {"now", nullptr}};
  options.choice = choice;
  options.name = "add";
  return options;
}

struct Parsed {
  std::string content;
  std::vector<std::string> names, arguments;
};

// The text in pieces of `length` bytes.
Parsed Parse(const ToolOptions& options, const std::string& text, size_t length) {
  ToolCallParser parser(options);
  Parsed result;
  const auto take = [&result](const ParsedAnswer& part) {
    result.content += part.content;
    for (const ToolCallPart& call : part.calls) {
      if (call.begins) {
        EXPECT_EQ(static_cast<size_t>(call.index), result.names.size());
        result.names.push_back(call.name);
        result.arguments.emplace_back();
      }
      result.arguments.at(static_cast<size_t>(call.index)) += call.arguments;
    }
  };
  for (size_t i = 0; i < text.size(); i += length) take(parser.Append(text.substr(i, length)));
  take(parser.Finish());
  EXPECT_EQ(parser.has_calls(), !result.names.empty());
  return result;
}

TEST(ToolCallParserTest, ContentAndCalls) {
  struct Case {
    std::string text, content;
    std::vector<std::string> names, arguments;
  };
  const std::string call = R"(<tool_call>
{"name": "add", "arguments": {"a": 1}}
</tool_call>)";
  const std::vector<Case> cases = {
      {"", "", {}, {}},
      {"plain <tool text", "plain <tool text", {}, {}},
      {call, "", {"add"}, {R"({"a":1})"}},
      {"\n" + call + "\n" + call + "\n", "", {"add", "add"}, {R"({"a":1})", R"({"a":1})"}},
      {"Let me see. " + call, "Let me see. ", {"add"}, {R"({"a":1})"}},
      {call + " done", "done", {"add"}, {R"({"a":1})"}},
      // An end mark within an argument; arguments as text; no end mark at the end.
      {R"(<tool_call>{"name": "add", "arguments": {"a": "</tool_call>\"}"}}</tool_call>)",
       "",
       {"add"},
       {R"({"a":"</tool_call>\"}"})"}},
      {R"(<tool_call>{"name": "add", "arguments": "{\"a\": 2}"}</tool_call>)",
       "",
       {"add"},
       {R"({"a": 2})"}},
      {R"(<tool_call>{"name": "now"})", "", {"now"}, {"{}"}},
      // No calls after all.
      {"<tool_call>nothing</tool_call>", "<tool_call>nothing</tool_call>", {}, {}},
      {"<tool_call>{\"name\": 1}</tool_call>x", "<tool_call>{\"name\": 1}</tool_call>x", {}, {}},
      {"<tool_call>{\"name\": ", "<tool_call>{\"name\": ", {}, {}},
      {"<tool_call>" + std::string(10000, '['), "<tool_call>" + std::string(10000, '['), {}, {}},
      // Llama 3: the answer is the call.
      {R"({"name": "add", "parameters": {"a": 1}})", "", {"add"}, {R"({"a":1})"}},
      {R"( {"name": "add", "parameters": {}}; {"name": "now", "parameters": {}} )",
       "",
       {"add", "now"},
       {"{}", "{}"}},
      {R"([{"name": "add", "arguments": {}}, {"name": "now", "arguments": {}}])",
       "",
       {"add", "now"},
       {"{}", "{}"}},
      {R"({"name": "else", "parameters": {}})", R"({"name": "else", "parameters": {}})", {}, {}},
      {R"({"name": "add", "parameters": {}} text)",
       R"({"name": "add", "parameters": {}} text)",
       {},
       {}},
      {R"({"answer": 42})", R"({"answer": 42})", {}, {}},
      {"[1, 2", "[1, 2", {}, {}},
      {"{}}", "{}}", {}, {}},
  };
  const ToolOptions options = Options(ToolChoice::kAuto);
  for (const Case& c : cases) {
    for (const size_t length : {1, 2, 7, 100000}) {
      SCOPED_TRACE(c.text.substr(0, 100) + " in pieces of " + std::to_string(length));
      const Parsed parsed = Parse(options, c.text, length);
      EXPECT_EQ(parsed.content, c.content);
      EXPECT_EQ(parsed.names, c.names);
      EXPECT_EQ(parsed.arguments, c.arguments);
    }
  }
}

TEST(ToolCallParserTest, NamedAndNone) {
  const std::string text = R"({"a": [1, "x"]})";
  const ToolOptions named = Options(ToolChoice::kNamed), none = Options(ToolChoice::kNone);
  for (const size_t length : {1, 4, 100}) {
    Parsed parsed = Parse(named, text, length);
    EXPECT_EQ(parsed.names, std::vector<std::string>{"add"});
    EXPECT_EQ(parsed.arguments, std::vector<std::string>{text});
    EXPECT_EQ(parsed.content, "");
    parsed = Parse(none, R"({"name": "add"}<tool_call>)", length);
    EXPECT_EQ(parsed.content, R"({"name": "add"}<tool_call>)");
    EXPECT_TRUE(parsed.names.empty());
  }
}

}  // namespace
}  // namespace tessera
