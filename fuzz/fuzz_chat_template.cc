// Any bytes as a chat template: parsing and rendering end in a text or in an error, never in a
// crash. The first line may be a JSON object, which then is the context.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "text/chat/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view source(reinterpret_cast<const char*>(data), size);
  nlohmann::ordered_json context = {
      {"messages", {{{"role", "user"}, {"content", "Hi"}}}}, {"n", 3}, {"s", "a b\nc"}};
  if (const size_t end = source.find('\n'); end != std::string_view::npos && source[0] == '{') {
    auto parsed = nlohmann::ordered_json::parse(source.substr(0, end), nullptr, false);
    if (parsed.is_object()) {
      context = std::move(parsed);
      source.remove_prefix(end + 1);
    }
  }
  const auto parsed = tessera::ChatTemplate::Parse(source);
  if (parsed.ok()) (void)(*parsed)->Render(context);
  return 0;
}
