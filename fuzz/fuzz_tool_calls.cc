// Finds calls in any bytes, behind one that says what was asked for and one that says how they are
// split: as a whole and in pieces, with the same result.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "server/protocol/json.h"
#include "server/protocol/tool_options.h"
#include "server/testing/assembled_answer.h"
#include "tessera/result.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  tessera::ToolOptions options;
  options.functions = {{"add", nullptr}, {"now", nullptr}};
  options.name = "add";
  constexpr tessera::ToolChoice kChoices[] = {
      tessera::ToolChoice::kAuto, tessera::ToolChoice::kRequired, tessera::ToolChoice::kNamed,
      tessera::ToolChoice::kNone};
  options.choice = kChoices[data[0] % 4];
  const std::string text(reinterpret_cast<const char*>(data) + 2, size - 2);
  // Writing replaces what is no UTF-8.
  const bool is_utf8 = tessera::Json::parse(tessera::Dump(tessera::Json(text))) == text;

  std::vector<std::string> pieces;
  uint32_t split = data[1];
  for (size_t at = 0; at < text.size(); at += pieces.back().size()) {
    split = split * 1664525 + 1013904223;
    pieces.push_back(text.substr(at, 1 + (data[1] == 0 ? 0 : (split >> 16) % data[1])));
  }
  const auto whole = tessera::testing::Assemble(options, {text}, is_utf8);
  TESSERA_CHECK(tessera::testing::Assemble(options, pieces, is_utf8) == whole);

  // Nothing is told twice, and nothing made up but arguments that are absent.
  size_t told = whole.content.size();
  for (const std::string& arguments : whole.arguments)
    told += arguments == "{}" ? 0 : arguments.size();
  TESSERA_CHECK(told <= text.size());
  const bool looks = data[0] % 4 < 2;
  TESSERA_CHECK(looks ||
                (whole.content + (whole.arguments.empty() ? "" : whole.arguments[0])) == text);
  return 0;
}
