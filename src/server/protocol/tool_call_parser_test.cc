#include "server/protocol/tool_call_parser.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/testing/assembled_answer.h"

namespace tessera {
namespace {

ToolOptions Options(ToolChoice choice) {
  ToolOptions options;
  options.functions = {{"add", nullptr}, {"now", nullptr}};
  options.choice = choice;
  options.name = "add";
  return options;
}

// The text in pieces of `length` bytes.
testing::AssembledAnswer Parse(const ToolOptions& options, const std::string& text, size_t length) {
  std::vector<std::string> pieces;
  for (size_t i = 0; i < text.size(); i += length) pieces.push_back(text.substr(i, length));
  return testing::Assemble(options, pieces);
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
      {" \n", " \n", {}, {}},
      {"plain <tool text", "plain <tool text", {}, {}},
      {"<<tool_<tool_call</tool_call>", "<<tool_<tool_call</tool_call>", {}, {}},
      {call, "", {"add"}, {R"({"a": 1})"}},
      {"\n" + call + "\n" + call + "\n", "", {"add", "add"}, {R"({"a": 1})", R"({"a": 1})"}},
      {call + call, "", {"add", "add"}, {R"({"a": 1})", R"({"a": 1})"}},
      {"Let me see.\n" + call, "Let me see.\n", {"add"}, {R"({"a": 1})"}},
      {"a < b <" + call, "a < b <", {"add"}, {R"({"a": 1})"}},
      {call + " done", "done", {"add"}, {R"({"a": 1})"}},
      {call + " and " + call, "and ", {"add", "add"}, {R"({"a": 1})", R"({"a": 1})"}},
      // An end mark within an argument; arguments as text; nothing but the name; other members.
      {R"(<tool_call>{"name": "add", "arguments": {"a": "</tool_call>\"}"}}</tool_call>)",
       "",
       {"add"},
       {R"({"a": "</tool_call>\"}"})"}},
      {R"(<tool_call>{"name": "add", "arguments": "{\"a\": 2}"}</tool_call>)",
       "",
       {"add"},
       {R"({"a": 2})"}},
      {R"(<tool_call>{"name": "now"})", "", {"now"}, {"{}"}},
      {R"(<tool_call>{"id": 7, "x": [{}], "n\u0061me": "add", "arguments" : { "a":  1 } , "y": null}
          </tool_call>)",
       "",
       {"add"},
       {R"({ "a":  1 })"}},
      {R"(<tool_call>{"arguments": {"a": "é{"}, "name": "add"}</tool_call>)",
       "",
       {"add"},
       {R"({"a": "é{"})"}},
      // Of several members of one kind the first counts.
      {R"(<tool_call>{"name": "add", "arguments": {}, "name": "now", "arguments": {"a": 1}})",
       "",
       {"add"},
       {"{}"}},
      // A name that no tool has: the marks say that a call was meant.
      {R"(<tool_call>{"name": "else", "arguments": {}}</tool_call>)", "", {"else"}, {"{}"}},
      // Cut off, or broken, when it was certain: the call stays, and what follows is content.
      {R"(x<tool_call>{"name": "add", "arguments": {"a": [1, "\)",
       "x",
       {"add"},
       {R"({"a": [1, "\)"}},
      {R"(<tool_call>{"name": "add", "arguments": {"a": 1})", "", {"add"}, {R"({"a": 1})"}},
      {R"(<tool_call>{"name": "add", "arguments": {"a": 1}}</tool)", "", {"add"}, {R"({"a": 1})"}},
      {R"(<tool_call>{"name": "add", "arguments": {"a": 1</tool_call>x)",
       "x",
       {"add"},
       {R"({"a": 1)"}},
      {R"(<tool_call>{"name": "add", "arguments": {"a": 1}</tool_call>x)",
       "x",
       {"add"},
       {R"({"a": 1})"}},
      {R"(<tool_call>{"name": "add", "arguments": {"a": 1]}}</tool_call>)",
       "]}}</tool_call>",
       {"add"},
       {R"({"a": 1)"}},
      {R"(<tool_call>{"name": "add", "arguments": {"a": 1}}}</tool_call>)",
       "}</tool_call>",
       {"add"},
       {R"({"a": 1})"}},
      {R"(<tool_call>{"name": "add", "arguments": {"a" 1,,}})", "", {"add"}, {R"({"a" 1,,})"}},
      {R"(<tool_call>{"name": "add"} text)", "text", {"add"}, {"{}"}},
      // No calls after all.
      {"<tool_call>nothing</tool_call>", "<tool_call>nothing</tool_call>", {}, {}},
      {" <tool_call> x", " <tool_call> x", {}, {}},
      {"<tool_call>{\"name\": 1}</tool_call>x", "<tool_call>{\"name\": 1}</tool_call>x", {}, {}},
      {"<tool_call>{\"name\": ", "<tool_call>{\"name\": ", {}, {}},
      {R"(<tool_call>{"name": "add", "arguments": { )",
       R"(<tool_call>{"name": "add", "arguments": { )",
       {},
       {}},
      {R"(<tool_call>{"name": "add", "arguments": "{\"a)",
       R"(<tool_call>{"name": "add", "arguments": "{\"a)",
       {},
       {}},
      {R"(<tool_call>{"name": "add", "arguments": {'a': 1}}</tool_call>)",
       R"(<tool_call>{"name": "add", "arguments": {'a': 1}}</tool_call>)",
       {},
       {}},
      {R"(<tool_call>{"name": "add", "arguments": null})",
       R"(<tool_call>{"name": "add", "arguments": null})",
       {},
       {}},
      {R"(<tool_call>{"name": "", "arguments": {}})",
       R"(<tool_call>{"name": "", "arguments": {}})",
       {},
       {}},
      {"<tool_call>" + std::string(10000, '['), "<tool_call>" + std::string(10000, '['), {}, {}},
      {"<tool_call><tool_call>" + call, "<tool_call><tool_call>", {"add"}, {R"({"a": 1})"}},
      // Llama 3: the answer is the call.
      {R"({"name": "add", "parameters": {"a": 1}})", "", {"add"}, {R"({"a": 1})"}},
      {R"( {"name": "add", "parameters": {}}; {"name": "now", "parameters": {}} )",
       "",
       {"add", "now"},
       {"{}", "{}"}},
      {R"([{"name": "add", "arguments": {}}, {"name": "now", "arguments": {}}])",
       "",
       {"add", "now"},
       {"{}", "{}"}},
      {"{\"name\": \"now\"}\n{\"name\": \"now\"} ; ", "", {"now", "now"}, {"{}", "{}"}},
      {R"({"name": "add", "parameters": {"a": [)", "", {"add"}, {R"({"a": [)"}},
      {R"({"name": "add", "parameters": {}} text)", "text", {"add"}, {"{}"}},
      {R"([{"name": "add", "parameters": {}}, 5])", ", 5]", {"add"}, {"{}"}},
      {R"([{"name": "now"}] ])", "]", {"now"}, {"{}"}},
      {R"({"name": "add", "parameters": {}}; {"name": "else", "parameters": {}})",
       R"(; {"name": "else", "parameters": {}})",
       {"add"},
       {"{}"}},
      {R"({"name": "else", "parameters": {}})", R"({"name": "else", "parameters": {}})", {}, {}},
      {R"({"parameters": {"a": 1}, "name": "else"})",
       R"({"parameters": {"a": 1}, "name": "else"})",
       {},
       {}},
      {R"({"answer": 42})", R"({"answer": 42})", {}, {}},
      {R"({"answer": 42} )" + call, R"({"answer": 42} )", {"add"}, {R"({"a": 1})"}},
      {"[1, 2", "[1, 2", {}, {}},
      {"[]", "[]", {}, {}},
      {"\n{}}", "\n{}}", {}, {}},
  };
  const ToolOptions options = Options(ToolChoice::kAuto);
  for (const Case& c : cases) {
    for (const size_t length : {1, 2, 7, 100000}) {
      SCOPED_TRACE(c.text.substr(0, 100) + " in pieces of " + std::to_string(length));
      const testing::AssembledAnswer parsed = Parse(options, c.text, length);
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
    testing::AssembledAnswer parsed = Parse(named, text, length);
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
