// What a user may write where a backend is chosen:
//
//   auto | portable | TRITON_ATTN                     one for everything
//   prefill=portable,decode=x86                       by phase
//   portable,sliding=reference                        the rest, and one kind of layer
//   x86,sliding/prefill=portable                      one phase of one kind of layer
//
// Phases: prefill (requests with several new tokens) and decode (with one). Kinds of layers: full,
// and sliding (a window or chunks). The most specific item counts: kind/phase, kind, phase, the
// bare name; what no item names is auto.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "tessera/attention_spec.h"
#include "tessera/result.h"

namespace tessera {

enum class LayerKind : uint8_t { kFull, kSliding };

LayerKind KindOf(const AttentionSpec& spec);
const char* ToString(LayerKind kind);  // "full", "sliding"

// The names for one layer.
struct PhaseNames {
  std::string prefill;
  std::string decode;
  bool apart = false;  // an item names a phase: each is then judged by its own cost
};

class BackendChoice {
 public:
  // Errors name `source` ("TESSERA_ATTENTION_BACKEND"), the item, and what may stand there. The
  // names themselves are not looked at.
  static Result<BackendChoice> Parse(std::string_view text, std::string_view source);

  PhaseNames For(LayerKind kind) const;

 private:
  static constexpr size_t kKinds = 2;
  static constexpr size_t kPhases = 2;

  // [kind or all of them][phase or both]; "" if no item says anything.
  std::array<std::array<std::string, kPhases + 1>, kKinds + 1> names_;
};

}  // namespace tessera
