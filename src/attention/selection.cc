// The choice among the backends: explicit, by variable, or the cheapest that can serve.
#include <algorithm>
#include <utility>

#include "attention/backend_choice.h"
#include "attention/checked_backend.h"
#include "attention/phase_split.h"
#include "attention/variable_warnings.h"
#include "attention/vllm_selection.h"
#include "base/environment.h"
#include "tessera/registry.h"

namespace tessera {

namespace {

// What was asked for, and where, for messages.
struct Wish {
  std::string text;
  std::string source;  // "TESSERA_ATTENTION_BACKEND", ...
};

// A candidate and what it is made of.
struct Judged {
  Candidate candidate;
  std::unique_ptr<Backend> backend;
};

#ifdef NDEBUG
constexpr bool kCheckedBuild = false;
#else
constexpr bool kCheckedBuild = true;
#endif

enum class Phase : uint8_t { kBoth, kPrefill, kDecode };

std::string Join(const std::vector<std::string>& list, const char* separator) {
  std::string text;
  for (const std::string& item : list) text += (text.empty() ? "" : separator) + item;
  return text;
}

void Append(std::vector<std::string> more, std::vector<std::string>* list) {
  for (std::string& item : more) {
    if (std::find(list->begin(), list->end(), item) == list->end()) list->push_back(item);
  }
}

// The environment's wish. vLLM's variables count where none of Tessera's says anything.
Result<Wish> FindWish(const SelectionRequest& request, const Environment& environment,
                      const DeviceInfo& device, std::vector<std::string>* warnings) {
  if (!request.backend.empty()) return Wish{request.backend, "the attention backend"};
  if (auto value = environment.String("TESSERA_ATTENTION_BACKEND")) {
    return Wish{*value, "TESSERA_ATTENTION_BACKEND"};
  }
  if (!HasVllmChoice(environment)) return Wish{"auto", ""};
  const std::string name = environment.String("VLLM_ATTENTION_BACKEND").value_or("");
  TESSERA_ASSIGN_OR_RETURN(VllmChoice choice, ChooseAsVllm(name, environment, device));
  Append(std::move(choice.warnings), warnings);
  return Wish{choice.backend, "the choice of vLLM's variables"};
}

// Tessera's name for one of vLLM's; any other comes back as it is.
Result<std::string> OwnName(const std::string& name, const Environment& environment,
                            const DeviceInfo& device, std::vector<std::string>* warnings) {
  if (!IsVllmName(name)) return name;
  TESSERA_ASSIGN_OR_RETURN(VllmChoice choice, ChooseAsVllm(name, environment, device));
  Append(std::move(choice.warnings), warnings);
  return choice.backend;
}

Support Judge(const Backend& backend, const BackendContext& context,
              const SelectionRequest& request) {
  Support support = backend.Supports(request.spec, request.block_size);
  Support probe = backend.Probe(context.device);
  support.reasons.insert(support.reasons.begin(), probe.reasons.begin(), probe.reasons.end());
  return support;
}

// One number to rank by. A server spends its time in both phases.
double Cost(const Support& support, Phase phase) {
  return (phase == Phase::kDecode ? 0 : support.prefill_ns_per_key) +
         (phase == Phase::kPrefill ? 0 : support.decode_ns_per_key);
}

std::string NamesOf(const std::vector<Judged>& judged) {
  std::string text = "auto";
  for (const Judged& j : judged) text += ", " + j.candidate.name;
  return text;
}

Error CannotServe(const std::vector<Candidate>& candidates, const std::string& name, Phase phase,
                  const AttentionSpec& spec) {
  const std::string what = (phase == Phase::kBoth      ? ""
                            : phase == Phase::kPrefill ? "the prefill of "
                                                       : "the decode of ") +
                           ToString(spec);
  if (name != "auto") {
    return Unsupported("attention backend '" + name + "' cannot serve " + what + ": " +
                       Join(candidates.front().support.reasons, "; ") +
                       " (choose auto or another one)");
  }
  std::string message = "no attention backend can serve " + what;
  for (const Candidate& candidate : candidates) {
    message += "; " + candidate.name + ": " + Join(candidate.support.reasons, "; ");
  }
  return Unsupported(message);
}

// All candidates, the chosen one first. `name` is "auto" or one of theirs.
Result<std::vector<Candidate>> Rank(const std::vector<Judged>& judged, const std::string& name,
                                    Phase phase, const AttentionSpec& spec) {
  std::vector<Candidate> candidates;
  for (const Judged& j : judged) candidates.push_back(j.candidate);
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](const Candidate& a, const Candidate& b) {
                     if ((a.name == name) != (b.name == name)) return a.name == name;
                     if (a.support.ok() != b.support.ok()) return a.support.ok();
                     return Cost(a.support, phase) < Cost(b.support, phase);
                   });
  if (!candidates.front().support.ok()) return CannotServe(candidates, name, phase, spec);
  return candidates;
}

std::unique_ptr<Backend> Take(std::vector<Judged>* judged, const std::string& name) {
  for (Judged& j : *judged) {
    if (j.candidate.name == name) return std::move(j.backend);
  }
  return nullptr;
}

std::string Line(const std::vector<Candidate>& candidates, Phase phase, bool automatic) {
  std::string text = candidates.front().name + (automatic ? " (auto)" : "");
  const double cost = Cost(candidates.front().support, phase);
  for (size_t i = 1; i < candidates.size(); ++i) {
    const Support& support = candidates[i].support;
    text += " | " + candidates[i].name + ": ";
    if (support.ok()) {
      text += Cost(support, phase) < cost ? "usable, faster" : "usable, slower";
    } else {
      text += "no, " + Join(support.reasons, "; ");
    }
  }
  return text;
}

}  // namespace

std::string BackendNames() {
  std::vector<std::string> names;
  for (const BackendEntry& entry : BackendEntries()) names.push_back(entry.name);
  return Join(names, ", ");
}

Result<Selection> SelectBackend(const SelectionRequest& request, const BackendContext& context) {
  TESSERA_RETURN_IF_ERROR(Validate(request.spec));
  const Environment environment = Environment::OfProcess();
  Selection selection;
  selection.warnings = AttentionVariableWarnings(environment);
  TESSERA_ASSIGN_OR_RETURN(const Wish wish,
                           FindWish(request, environment, context.device, &selection.warnings));
  TESSERA_ASSIGN_OR_RETURN(const BackendChoice choice,
                           BackendChoice::Parse(wish.text, wish.source));
  PhaseNames names = choice.For(KindOf(request.spec));

  std::vector<Judged> judged;
  for (const std::vector<BackendEntry>* entries : {&BackendEntries(), &request.plugins}) {
    for (const BackendEntry& entry : *entries) {
      std::unique_ptr<Backend> backend = entry.create(context);
      if (context.check_inputs || kCheckedBuild) backend = MakeChecked(std::move(backend));
      Support support = Judge(*backend, context, request);
      judged.push_back({{entry.name, std::move(support)}, std::move(backend)});
    }
  }
  for (std::string* name : {&names.prefill, &names.decode}) {
    const std::string said = *name;
    TESSERA_ASSIGN_OR_RETURN(*name,
                             OwnName(said, environment, context.device, &selection.warnings));
    const bool known =
        *name == "auto" || std::any_of(judged.begin(), judged.end(),
                                       [&](const Judged& j) { return j.candidate.name == *name; });
    if (!known) {
      return NotFound(wish.source + " '" + said + "' " +
                      (*name == said ? "is unknown to" : "means " + *name + ", which") +
                      " this build" + (*name == said ? "; it has " : " lacks; it has ") +
                      NamesOf(judged));
    }
  }
  selection.automatic = names.prefill == "auto" && names.decode == "auto";
  if (!names.apart) {
    TESSERA_ASSIGN_OR_RETURN(selection.candidates,
                             Rank(judged, names.prefill, Phase::kBoth, request.spec));
    selection.backend = Take(&judged, selection.candidates.front().name);
    return selection;
  }
  TESSERA_ASSIGN_OR_RETURN(selection.candidates,
                           Rank(judged, names.prefill, Phase::kPrefill, request.spec));
  TESSERA_ASSIGN_OR_RETURN(selection.decode_candidates,
                           Rank(judged, names.decode, Phase::kDecode, request.spec));
  selection.backend = Take(&judged, selection.candidates.front().name);
  if (selection.decode_candidates.front().name == selection.candidates.front().name) {
    return selection;
  }
  selection.backend = CreatePhaseSplit(std::move(selection.backend),
                                       Take(&judged, selection.decode_candidates.front().name));
  const Support support = selection.backend->Supports(request.spec, request.block_size);
  if (!support.ok()) {
    return Unsupported("'" + selection.backend->Name() + "' cannot serve " +
                       ToString(request.spec) + ": " + Join(support.reasons, "; "));
  }
  return selection;
}

std::string Selection::Explain() const {
  if (decode_candidates.empty()) return Line(candidates, Phase::kBoth, automatic);
  return "prefill: " + Line(candidates, Phase::kPrefill, automatic) +
         "; decode: " + Line(decode_candidates, Phase::kDecode, automatic);
}

}  // namespace tessera
