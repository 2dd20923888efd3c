// Reads any bytes as a JSON schema (first byte even) or a regular expression, and writes texts by
// it: none gets stuck, and those of schemas are JSON.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "grammar/constraint_spec.h"
#include "tessera/result.h"

namespace {

constexpr int kMaxBytes = 300;

// The choices are drawn from a simple generator: the same input gives the same text.
void Write(tessera::grammar::Automaton* automaton, bool is_json) {
  uint32_t random = 1;
  std::string text;
  tessera::grammar::StateId state = automaton->start();
  while (!automaton->MustEnd(state) && text.size() < kMaxBytes) {
    random = random * 1664525 + 1013904223;
    bool found = false;
    for (unsigned i = 0; i < 256 && !found; ++i) {
      const auto byte = static_cast<uint8_t>((random >> 24) + i);
      const tessera::grammar::StateId next = automaton->Next(state, byte);
      if (automaton->overflowed()) return;
      if (next == tessera::grammar::kDead) continue;
      text += static_cast<char>(byte);
      state = next;
      found = true;
    }
    TESSERA_CHECK(found || automaton->MayEnd(state), "stuck behind " + text);
    if (!found) break;
  }
  if (is_json && automaton->MayEnd(state)) {
    TESSERA_CHECK(tessera::grammar::Json::accept(text), text);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  tessera::ConstraintSpec spec;
  const bool is_json = (data[0] & 1) == 0;
  if (is_json) {
    spec.kind = tessera::ConstraintSpec::Kind::kJsonSchema;
    spec.schema = tessera::grammar::Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (spec.schema.is_discarded()) return 0;
  } else {
    spec.kind = tessera::ConstraintSpec::Kind::kRegex;
    spec.pattern = text;
  }
  auto automaton = tessera::CompileConstraint(spec);
  if (automaton.ok()) {
    Write(automaton->get(), is_json);
  } else {
    TESSERA_CHECK(automaton.error().message.ends_with('.'));
  }
  return 0;
}
