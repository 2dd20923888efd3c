// tokenizer_config.json: the special tokens' names and the chat template.
#pragma once

#include <string>
#include <string_view>

#include "tessera/result.h"

namespace tessera::tokenization {

struct TokenizerConfig {
  std::string bos_token;  // "" if there is none
  std::string eos_token;
  std::string chat_template;  // of several templates the one named "default"
};

// An empty text gives an empty configuration.
Result<TokenizerConfig> ParseTokenizerConfig(std::string_view json);

}  // namespace tessera::tokenization
