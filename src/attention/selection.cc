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

// What was asked for, and by what, for messages.
struct RequestedBackend {
  std::string text;
  std::string source;  // "TESSERA_ATTENTION_BACKEND", ...
};

// A candidate and its instance, if the device and its creation allow one.
struct RatedCandidate {
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

void Append(const std::vector<std::string>& more, std::vector<std::string>* list) {
  for (const std::string& item : more) {
    if (std::find(list->begin(), list->end(), item) == list->end()) list->push_back(item);
  }
}

// Returns the request's own choice, or else the environment's. vLLM's variables count if none of
// Tessera's says anything.
Result<RequestedBackend> ResolveRequest(const SelectionRequest& request,
                                        const Environment& environment, const DeviceInfo& device,
                                        std::vector<std::string>* warnings) {
  if (!request.backend.empty()) return RequestedBackend{request.backend, "the attention backend"};
  if (auto value = environment.String("TESSERA_ATTENTION_BACKEND")) {
    return RequestedBackend{*value, "TESSERA_ATTENTION_BACKEND"};
  }
  if (!HasVllmChoice(environment)) return RequestedBackend{"auto", ""};
  const std::string name = environment.String("VLLM_ATTENTION_BACKEND").value_or("");
  TESSERA_ASSIGN_OR_RETURN(VllmChoice choice, ChooseAsVllm(name, environment, device));
  Append(choice.warnings, warnings);
  return RequestedBackend{choice.backend, "the choice of vLLM's variables"};
}

// Returns Tessera's name for one of vLLM's, and any other as it is.
Result<std::string> TranslateVllmName(const std::string& name, const Environment& environment,
                                      const DeviceInfo& device,
                                      std::vector<std::string>* warnings) {
  if (!IsVllmName(name)) return name;
  TESSERA_ASSIGN_OR_RETURN(VllmChoice choice, ChooseAsVllm(name, environment, device));
  Append(choice.warnings, warnings);
  return choice.backend;
}

// Asks the entry's probe first: what it refuses is not created.
RatedCandidate Rate(const BackendEntry& entry, const BackendContext& context,
                    const SelectionRequest& request) {
  RatedCandidate rated{{entry.name, entry.probe(context.device->info())}, nullptr};
  if (!rated.candidate.support.ok()) return rated;
  Result<std::unique_ptr<Backend>> backend = entry.create(context);
  if (!backend.ok()) {
    rated.candidate.support.reasons.push_back(backend.error().message);
    return rated;
  }
  rated.backend = std::move(backend).value();
  if (context.check_inputs || kCheckedBuild) rated.backend = MakeChecked(std::move(rated.backend));
  rated.candidate.support = rated.backend->Supports(request.spec, request.block_size);
  return rated;
}

// One number to rank by. A server spends its time in both phases.
double Cost(const Support& support, Phase phase) {
  return (phase == Phase::kDecode ? 0 : support.prefill_ns_per_key) +
         (phase == Phase::kPrefill ? 0 : support.decode_ns_per_key);
}

std::string NamesOf(const std::vector<RatedCandidate>& rated) {
  std::string text = "auto";
  for (const RatedCandidate& r : rated) text += ", " + r.candidate.name;
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
Result<std::vector<Candidate>> Rank(const std::vector<RatedCandidate>& rated,
                                    const std::string& name, Phase phase,
                                    const AttentionSpec& spec) {
  std::vector<Candidate> candidates;
  for (const RatedCandidate& r : rated) candidates.push_back(r.candidate);
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](const Candidate& a, const Candidate& b) {
                     if ((a.name == name) != (b.name == name)) return a.name == name;
                     if (a.support.ok() != b.support.ok()) return a.support.ok();
                     return Cost(a.support, phase) < Cost(b.support, phase);
                   });
  if (!candidates.front().support.ok()) return CannotServe(candidates, name, phase, spec);
  return candidates;
}

std::unique_ptr<Backend> Take(std::vector<RatedCandidate>* rated, const std::string& name) {
  for (RatedCandidate& r : *rated) {
    if (r.candidate.name == name) return std::move(r.backend);
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
  const DeviceInfo& device = context.device->info();
  TESSERA_ASSIGN_OR_RETURN(const RequestedBackend requested,
                           ResolveRequest(request, environment, device, &selection.warnings));
  TESSERA_ASSIGN_OR_RETURN(const BackendChoice choice,
                           BackendChoice::Parse(requested.text, requested.source));
  PhaseNames names = choice.For(KindOf(request.spec));

  std::vector<RatedCandidate> rated;
  for (const std::vector<BackendEntry>* entries : {&BackendEntries(), &request.plugins}) {
    for (const BackendEntry& entry : *entries) {
      rated.push_back(Rate(entry, context, request));
    }
  }
  for (std::string* name : {&names.prefill, &names.decode}) {
    const std::string said = *name;
    TESSERA_ASSIGN_OR_RETURN(*name,
                             TranslateVllmName(said, environment, device, &selection.warnings));
    const bool known =
        *name == "auto" || std::any_of(rated.begin(), rated.end(), [&](const RatedCandidate& r) {
          return r.candidate.name == *name;
        });
    if (!known) {
      return NotFound(requested.source + " '" + said + "' " +
                      (*name == said ? "is unknown to" : "means " + *name + ", which") +
                      " this build" + (*name == said ? "; it has " : " lacks; it has ") +
                      NamesOf(rated));
    }
  }
  selection.automatic = names.prefill == "auto" && names.decode == "auto";
  if (!names.apart) {
    TESSERA_ASSIGN_OR_RETURN(selection.candidates,
                             Rank(rated, names.prefill, Phase::kBoth, request.spec));
    selection.backend = Take(&rated, selection.candidates.front().name);
    return selection;
  }
  TESSERA_ASSIGN_OR_RETURN(selection.candidates,
                           Rank(rated, names.prefill, Phase::kPrefill, request.spec));
  TESSERA_ASSIGN_OR_RETURN(selection.decode_candidates,
                           Rank(rated, names.decode, Phase::kDecode, request.spec));
  selection.backend = Take(&rated, selection.candidates.front().name);
  if (selection.decode_candidates.front().name == selection.candidates.front().name) {
    return selection;
  }
  selection.backend = CreatePhaseSplit(std::move(selection.backend),
                                       Take(&rated, selection.decode_candidates.front().name));
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
