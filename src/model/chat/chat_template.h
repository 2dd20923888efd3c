// Chat templates: the Jinja subset that model publishers use, rendered as transformers renders it
// (trim_blocks, lstrip_blocks; raise_exception, strftime_now, tojson).
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "tessera/result.h"

namespace tessera {

// Immutable after parsing; Render may be called from any thread.
class ChatTemplate {
 public:
  // A syntax error names the line and what was expected.
  static Result<std::unique_ptr<ChatTemplate>> Parse(std::string_view source);
  ~ChatTemplate();

  // `context` is an object: messages, add_generation_prompt, bos_token, eos_token, tools, ...
  // Undefined names, wrong types and raise_exception() come back as errors that name the line.
  Result<std::string> Render(const nlohmann::ordered_json& context) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera
