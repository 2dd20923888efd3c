// tessera backends: what this build's attention backends can do here, and why not.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/backend_features.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "tessera/registry.h"
#include "tessera/thread_pool.h"

namespace tessera {
namespace {

struct BackendsFlags {
  bool json = false;
  bool reasons = false;
  bool explain = false;
};

void PrintJson(const std::vector<BackendReport>& reports, const std::vector<FeatureProbe>& probes) {
  auto list = nlohmann::ordered_json::array();
  for (const BackendReport& report : reports) {
    nlohmann::ordered_json features = nlohmann::ordered_json::object();
    for (size_t i = 0; i < probes.size(); ++i) {
      features[probes[i].name] = report.features[i].ok();
    }
    list.push_back({{"name", report.name},
                    {"description", report.description},
                    {"usable", report.usable.ok()},
                    {"reason", JoinReasons(report.usable)},
                    {"features", features}});
  }
  std::printf("%s\n", list.dump(2).c_str());
}

void PrintTable(const std::vector<BackendReport>& reports,
                const std::vector<FeatureProbe>& probes) {
  for (const BackendReport& report : reports) {
    std::printf(
        "%-12s %s\n%-12s %s\n", report.name.c_str(), report.description.c_str(), "",
        report.usable.ok() ? "usable here" : ("not here: " + JoinReasons(report.usable)).c_str());
  }
  std::printf("\n%-28s", "");
  for (const BackendReport& report : reports) {
    if (report.usable.ok()) std::printf("%-12s", report.name.c_str());
  }
  std::printf("\n");
  for (size_t i = 0; i < probes.size(); ++i) {
    std::printf("%-28s", probes[i].name.c_str());
    for (const BackendReport& report : reports) {
      if (report.usable.ok()) std::printf("%-12s", report.features[i].ok() ? "yes" : "-");
    }
    std::printf("\n");
  }
}

void PrintReasons(const std::vector<BackendReport>& reports,
                  const std::vector<FeatureProbe>& probes) {
  std::printf("\n");
  for (const BackendReport& report : reports) {
    if (!report.usable.ok()) continue;
    for (size_t i = 0; i < probes.size(); ++i) {
      if (report.features[i].ok()) continue;
      std::printf("%s, %s: %s\n", report.name.c_str(), probes[i].name.c_str(),
                  JoinReasons(report.features[i]).c_str());
    }
  }
}

Result<int> Backends(const BackendsFlags& flags) {
  ThreadPool::Options pool_options;
  pool_options.num_threads = 1;
  ThreadPool threads(pool_options);
  const BackendContext context{DetectCpu(), &threads};
  const std::vector<FeatureProbe> probes = FeatureProbes();
  if (flags.explain) {
    SelectionRequest request;
    request.spec = probes[0].spec;
    TESSERA_ASSIGN_OR_RETURN(const Selection selection, SelectBackend(request, context));
    std::printf("%s\n", selection.Explain().c_str());
    return kExitOk;
  }
  const std::vector<BackendReport> reports = ReportBackends(context);
  if (flags.json) {
    PrintJson(reports, probes);
    return kExitOk;
  }
  PrintTable(reports, probes);
  if (flags.reasons) PrintReasons(reports, probes);
  return kExitOk;
}

}  // namespace

void AddBackendsCommand(CLI::App* app, CommandTable* commands) {
  const auto flags = std::make_shared<BackendsFlags>();
  CLI::App* command =
      app->add_subcommand("backends", "List the attention backends and what they support here");
  command->add_flag("--reasons", flags->reasons, "Say for each feature that is missing why");
  command->add_flag("--explain", flags->explain,
                    "Say which backend a plain bfloat16 layer gets, and why");
  command->add_flag("--json", flags->json, "As JSON");
  (*commands)[command] = [flags] {
    const auto result = Backends(*flags);
    return result.ok() ? *result : Report(result.error());
  };
}

}  // namespace tessera
