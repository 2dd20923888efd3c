// What a client puts together from the parts of an answer, and what must hold of each part.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/protocol/tool_call_parser.h"
#include "tessera/result.h"

namespace tessera::testing {

struct AssembledAnswer {
  std::string content;
  std::vector<std::string> names, arguments;  // of each call

  bool operator==(const AssembledAnswer&) const = default;
};

// Neither begins nor ends within a character, if it is part of a text that is UTF-8.
inline bool HasWholeCharacters(std::string_view part) {
  int missing = 0;  // bytes of the character at hand
  for (const char c : part) {
    const auto byte = static_cast<unsigned char>(c);
    const bool continues = (byte & 0xc0) == 0x80;
    if (continues != (missing > 0)) return false;
    missing = continues ? missing - 1 : byte < 0xc0 ? 0 : byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
  }
  return missing == 0;
}

// Parses the text that comes in these pieces. `is_utf8`: all of it is, so that each part must be.
inline AssembledAnswer Assemble(const ToolOptions& options, const std::vector<std::string>& pieces,
                                bool is_utf8 = true) {
  ToolCallParser parser(options);
  AssembledAnswer answer;
  const auto take = [&](const ParsedAnswer& found) {
    TESSERA_CHECK(!is_utf8 || HasWholeCharacters(found.content));
    answer.content += found.content;
    for (const ToolCallPart& part : found.calls) {
      if (part.begins) {
        TESSERA_CHECK(static_cast<size_t>(part.index) == answer.names.size());
        TESSERA_CHECK(!part.name.empty() && part.arguments.empty());
        answer.names.push_back(part.name);
        answer.arguments.emplace_back();
      } else {
        TESSERA_CHECK(static_cast<size_t>(part.index) + 1 == answer.names.size());
        TESSERA_CHECK(part.name.empty() && !part.arguments.empty());
        TESSERA_CHECK(!is_utf8 || HasWholeCharacters(part.arguments));
        answer.arguments.back() += part.arguments;
      }
    }
  };
  for (const std::string& piece : pieces) take(parser.Append(piece));
  take(parser.Finish());
  TESSERA_CHECK(parser.has_calls() == !answer.names.empty());
  return answer;
}

}  // namespace tessera::testing
