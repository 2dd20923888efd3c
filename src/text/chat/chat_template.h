// Chat templates: the Jinja subset that model publishers use, rendered as transformers renders it
// (trim_blocks, lstrip_blocks; raise_exception, strftime_now, tojson).
#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "tessera/result.h"

namespace tessera {

struct RenderOptions {
  // What strftime_now() formats; the local time when it is not set.
  std::optional<std::tm> now;
  // What a rendering may take: steps of evaluation, and bytes of texts and containers ever made.
  int64_t max_steps = 50'000'000;
  int64_t max_value_bytes = int64_t{1} << 30;
};

// Hostile templates are bounded: 64 MiB of output and of every string, the options' limits of steps
// and values, and fixed depths of nesting. Integers have 64 bits, and overflow is an error.
// Immutable after parsing; Render may be called from any thread.
class ChatTemplate {
 public:
  // A syntax error names the line and what was expected.
  static Result<std::unique_ptr<ChatTemplate>> Parse(std::string_view source);
  ~ChatTemplate();

  // `context` is an object: messages, add_generation_prompt, bos_token, eos_token, tools, ...
  // Undefined names, wrong types and raise_exception() come back as errors that name the line.
  Result<std::string> Render(const nlohmann::ordered_json& context,
                             const RenderOptions& options = {}) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera
