// A tokenizer.json, a zero byte, then a text: loading, encoding and decoding must survive both.
// Without a zero byte the input is the file.
#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "text/tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = std::min(input.find('\0'), input.size());
  const std::string_view text = input.substr(std::min(zero + 1, input.size()));
  const auto plain = tessera::Tokenizer::Parse(input.substr(0, zero));
  if (!plain.ok()) return 0;

  const auto ids = (*plain)->Encode(text.empty() ? input.substr(0, 256) : text);
  const std::string decoded = (*plain)->Decode(ids);
  tessera::Tokenizer::StreamDecoder stream(plain->get());
  std::string streamed;
  for (const int32_t id : ids) streamed += stream.Append(id);
  streamed += stream.Finish();
  if (streamed != decoded) std::abort();
  return 0;
}
