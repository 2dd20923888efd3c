#include "server/protocol/json_scanner.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace tessera {
namespace {

using Found = JsonScanner::Found;

// What the scanner says first other than kInside, and at which byte.
std::pair<Found, size_t> Scan(const std::string& text) {
  JsonScanner scanner;
  for (size_t i = 0; i < text.size(); ++i) {
    if (const Found found = scanner.Take(text[i]); found != Found::kInside) return {found, i};
  }
  return {Found::kInside, text.size()};
}

TEST(JsonScannerTest, FindsTheEnd) {
  struct Case {
    std::string text;
    Found found;
    size_t at;
  };
  const std::vector<Case> cases = {
      {R"({"a": "}\"]\\"}rest)", Found::kLast, 14},
      {R"( [{"a": [1, {}]}, "x"] ])", Found::kLast, 21},
      {R"("\\" ")", Found::kLast, 3},
      {R"("\"" ")", Found::kLast, 3},
      {R"("\u007d}" ")", Found::kLast, 8},
      {"\"\xc3\xa9{\n\"", Found::kLast, 5},  // line breaks within strings are let through
      {"{}", Found::kLast, 1},
      {"-1.5e+3,", Found::kPast, 7},
      {"null}", Found::kPast, 4},
      {"\n\t true ", Found::kPast, 7},
      {"", Found::kInside, 0},
      {"  ", Found::kInside, 2},
      {"12", Found::kInside, 2},
      {R"({"a": "\)", Found::kInside, 8},
      {R"({"a": [{})", Found::kInside, 9},
      {"[1}", Found::kNoJson, 2},
      {R"({"a": [1, 2})", Found::kNoJson, 11},
      {"}", Found::kNoJson, 0},
      {",", Found::kNoJson, 0},
      {" :", Found::kNoJson, 1},
      {"{'a'", Found::kNoJson, 1},
      {R"({"a": 1</tool_call>)", Found::kNoJson, 7},
      {R"({"a": </)", Found::kNoJson, 6},
      {"[\xc3\xa9", Found::kNoJson, 1},
      {std::string("[\0]", 3), Found::kNoJson, 1},
      {R"({"a" 1,,:})", Found::kLast, 9},  // the order is not checked
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.text);
    const auto [found, at] = Scan(c.text);
    EXPECT_EQ(found, c.found);
    EXPECT_EQ(at, c.at);
  }
}

TEST(JsonScannerTest, Deep) {
  constexpr size_t kDepth = 1'000'000;
  const std::string text = std::string(kDepth, '[') + std::string(kDepth, ']');
  EXPECT_EQ(Scan(text), std::pair(Found::kLast, text.size() - 1));
}

}  // namespace
}  // namespace tessera
