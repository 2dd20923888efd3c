#include "server/protocol/token_names.h"

#include <algorithm>
#include <cstdio>

#include "text/tokenizer/unicode.h"

namespace tessera {

double PrintableLogprob(float logprob) {
  return logprob > kLeastLogprob ? static_cast<double>(logprob) : kLeastLogprob;  // NaN as well
}

int64_t CountCharacters(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xc0u) != 0x80u; });
}

std::string TokenNames::Bytes(int32_t token) const {
  return tokenizer_ == nullptr ? std::string() : tokenizer_->TokenBytes(token);
}

std::string TokenNames::Name(int32_t token) const {
  const std::string bytes = as_ids_ ? std::string() : Bytes(token);
  if (bytes.empty()) return "token_id:" + std::to_string(token);
  if (tokenization::IsValidUtf8(bytes)) return bytes;
  std::string name = "bytes:";
  for (const char c : bytes) {
    char escaped[8];
    std::snprintf(escaped, sizeof(escaped), "\\x%02x", static_cast<unsigned>(c) & 0xffu);
    name += escaped;
  }
  return name;
}

int64_t TokenNames::NumCharacters(int32_t token) const { return CountCharacters(Bytes(token)); }

bool TokenNames::IsSpecial(int32_t token) const {
  return tokenizer_ != nullptr && tokenizer_->IsSpecial(token);
}

}  // namespace tessera
