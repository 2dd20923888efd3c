#include "attention/backend_choice.h"

#include <algorithm>
#include <optional>

namespace tessera {
namespace {

constexpr size_t kAll = 2;  // after the last kind, and after the last phase

// What an item's key names.
struct Place {
  size_t kind = kAll;
  size_t phase = kAll;
};

std::optional<Place> FindPlace(std::string_view key) {
  constexpr std::string_view kKinds[] = {"full", "sliding"};
  constexpr std::string_view kPhases[] = {"prefill", "decode"};
  for (size_t phase = 0; phase < 2; ++phase) {
    if (key == kPhases[phase]) return Place{kAll, phase};
  }
  for (size_t kind = 0; kind < 2; ++kind) {
    if (key == kKinds[kind]) return Place{kind, kAll};
    for (size_t phase = 0; phase < 2; ++phase) {
      if (key == std::string(kKinds[kind]).append("/").append(kPhases[phase])) {
        return Place{kind, phase};
      }
    }
  }
  return std::nullopt;
}

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t";
  const size_t begin = std::min(text.find_first_not_of(kBlanks), text.size());
  return text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
}

}  // namespace

LayerKind KindOf(const AttentionSpec& spec) {
  const bool local = spec.window_left >= 0 || spec.window_right >= 0 || spec.chunk_size > 0;
  return local ? LayerKind::kSliding : LayerKind::kFull;
}

const char* ToString(LayerKind kind) { return kind == LayerKind::kFull ? "full" : "sliding"; }

Result<BackendChoice> BackendChoice::Parse(std::string_view text, std::string_view source) {
  BackendChoice choice;
  const auto refuse = [&](std::string_view item, const std::string& why) {
    return InvalidArgument(std::string(source)
                               .append(" '")
                               .append(text)
                               .append("': ")
                               .append(item.empty() ? "an item" : "'" + std::string(item) + "'")
                               .append(why));
  };
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view item = Trimmed(text.substr(begin, end - begin));
    begin = end + 1;
    const size_t equals = item.find('=');
    const bool keyed = equals != std::string_view::npos;
    const std::string_view name = keyed ? Trimmed(item.substr(equals + 1)) : item;
    Place place;
    if (keyed) {
      const auto found = FindPlace(Trimmed(item.substr(0, equals)));
      if (!found) {
        return refuse(item,
                      " begins with no phase (prefill, decode) or kind of layer (full, sliding), "
                      "nor both as in sliding/decode");
      }
      place = *found;
    }
    if (name.empty()) return refuse(item, " names no backend; give a name or auto");
    std::string& slot = choice.names_[place.kind][place.phase];
    if (!slot.empty()) {
      return refuse(item, keyed ? " names what an earlier item has named; keep one of them"
                                : " is a second name without a phase or kind; write it as "
                                  "decode=NAME, or leave it out");
    }
    slot = name;
  }
  return choice;
}

PhaseNames BackendChoice::For(LayerKind kind) const {
  const auto& own = names_[static_cast<size_t>(kind)];
  const auto& all = names_[kAll];
  const auto find = [&](size_t phase) -> std::string {
    for (const std::string* name : {&own[phase], &own[kAll], &all[phase], &all[kAll]}) {
      if (!name->empty()) return *name;
    }
    return "auto";
  };
  PhaseNames names{find(0), find(1), false};
  // A kind's own name for both phases hides what the phases say.
  const bool by_own_phase = !own[0].empty() || !own[1].empty();
  const bool by_phase = own[kAll].empty() && (!all[0].empty() || !all[1].empty());
  names.apart = by_own_phase || by_phase;
  return names;
}

}  // namespace tessera
