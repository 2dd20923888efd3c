// The choice among the backends: explicit, by variable, or the cheapest that can serve.
#include <algorithm>
#include <string_view>

#include "attention/vllm_names.h"
#include "base/environment.h"
#include "tessera/registry.h"

namespace tessera {

namespace {

// Where the wish came from, for messages.
struct Wish {
  std::string name;    // Tessera's; "auto" where there is none
  std::string source;  // "--attention-backend", "TESSERA_ATTENTION_BACKEND", ...
};

Wish FindWish(const SelectionRequest& request, const Environment& environment) {
  Wish wish{request.backend, "the attention backend"};
  if (wish.name.empty()) {
    for (const char* variable : {"TESSERA_ATTENTION_BACKEND", "VLLM_ATTENTION_BACKEND"}) {
      if (auto value = environment.String(variable)) {
        wish = {*value, variable};
        break;
      }
    }
  }
  wish.name = wish.name.empty() ? "auto" : FromVllmName(wish.name);
  return wish;
}

std::string Join(const std::vector<std::string>& list, const char* separator) {
  std::string text;
  for (const std::string& item : list) text += (text.empty() ? "" : separator) + item;
  return text;
}

Support Judge(const Backend& backend, const BackendContext& context,
              const SelectionRequest& request) {
  Support support = backend.Supports(request.spec, request.block_size);
  Support probe = backend.Probe(context.device);
  support.reasons.insert(support.reasons.begin(), probe.reasons.begin(), probe.reasons.end());
  return support;
}

// Variables that look like ours and are not: a misspelled choice must not be ignored in silence.
std::vector<std::string> VariableWarnings(const Environment& environment) {
  constexpr std::string_view kKnown[] = {"TESSERA_ATTENTION_BACKEND"};
  std::vector<std::string> warnings;
  for (const std::string& name : environment.NamesWithPrefix("TESSERA_AT")) {
    if (std::find(std::begin(kKnown), std::end(kKnown), name) == std::end(kKnown)) {
      warnings.push_back(
          "the environment variable " + name +
          " is not known and has no effect (did you mean TESSERA_ATTENTION_BACKEND?)");
    }
  }
  return warnings;
}

// One number to rank by: a server spends its time in both phases.
double Cost(const Support& support) {
  return support.decode_ns_per_key + support.prefill_ns_per_key;
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
  const Wish wish = FindWish(request, environment);

  Selection selection;
  selection.warnings = VariableWarnings(environment);
  struct Judged {
    Candidate candidate;
    std::unique_ptr<Backend> backend;
  };
  std::vector<Judged> judged;
  bool known = wish.name == "auto";
  for (const BackendEntry& entry : BackendEntries()) {
    std::unique_ptr<Backend> backend = entry.create(context);
    Support support = Judge(*backend, context, request);
    judged.push_back({{entry.name, std::move(support)}, std::move(backend)});
    known = known || entry.name == wish.name;
  }
  if (!known) {
    return NotFound(wish.source + " '" + (request.backend.empty() ? wish.name : request.backend) +
                    "' is unknown to this build; it has auto, " + BackendNames());
  }
  std::stable_sort(judged.begin(), judged.end(), [&](const Judged& a, const Judged& b) {
    const bool a_wished = a.candidate.name == wish.name;
    const bool b_wished = b.candidate.name == wish.name;
    if (a_wished != b_wished) return a_wished;
    if (a.candidate.support.ok() != b.candidate.support.ok()) return a.candidate.support.ok();
    return Cost(a.candidate.support) < Cost(b.candidate.support);
  });

  if (!judged.front().candidate.support.ok()) {
    std::string message;
    if (wish.name != "auto") {
      message = "attention backend '" + wish.name + "' cannot serve " + ToString(request.spec) +
                ": " + Join(judged.front().candidate.support.reasons, "; ") +
                " (choose auto or another one)";
    } else {
      message = "no attention backend can serve " + ToString(request.spec);
      for (const Judged& j : judged) {
        message += "; " + j.candidate.name + ": " + Join(j.candidate.support.reasons, "; ");
      }
    }
    return Unsupported(message);
  }
  selection.backend = std::move(judged.front().backend);
  for (Judged& j : judged) selection.candidates.push_back(std::move(j.candidate));
  return selection;
}

std::string Selection::Explain() const {
  std::string text = candidates.front().name;
  for (size_t i = 1; i < candidates.size(); ++i) {
    const Candidate& candidate = candidates[i];
    text += " | " + candidate.name + ": ";
    text +=
        candidate.support.ok() ? "usable, slower" : "no, " + Join(candidate.support.reasons, "; ");
  }
  return text;
}

}  // namespace tessera
