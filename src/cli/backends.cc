// tessera backends: what this build's attention backends can do here, and why not.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/backend_explain.h"
#include "cli/backend_features.h"
#include "cli/backend_matrix.h"
#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/exit_code.h"
#include "model/model.h"
#include "tessera/plugin.h"
#include "tessera/registry.h"
#include "tessera/thread_pool.h"

namespace tessera {
namespace {

struct BackendsFlags {
  EngineFlags engine;
  bool json = false;
  bool reasons = false;
  bool explain = false;
  bool matrix = false;
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

// Who computes the layers of a model, and why.
Result<int> Explain(const BackendsFlags& flags, const BackendContext& context,
                    const std::vector<BackendEntry>& plugins) {
  TESSERA_ASSIGN_OR_RETURN(const std::string directory, ModelDirectory(flags.engine));
  TESSERA_ASSIGN_OR_RETURN(const DType dtype, ModelDType(flags.engine));
  const bool cpu = context.device->info().kind == DeviceKind::kCpu;
  TESSERA_ASSIGN_OR_RETURN(
      std::vector<AttentionSpec> layers,
      LoadLayerSpecs(directory, dtype, cpu ? DType::kFloat32 : DType::kBFloat16));
  for (AttentionSpec& spec : layers) spec.batch_invariant = flags.engine.batch_invariant;
  SelectionRequest request;
  request.backend = flags.engine.attention_backend;
  request.block_size = flags.engine.block_size;
  request.plugins = plugins;
  TESSERA_ASSIGN_OR_RETURN(const auto choices, ChooseForLayers(layers, request, context));
  std::printf("%s", flags.json ? (ExplainAsJson(choices).dump(2) + "\n").c_str()
                               : ExplainAsText(choices).c_str());
  return kExitOk;
}

Result<int> Backends(const BackendsFlags& flags) {
  if (flags.matrix) {
    std::printf("%s", BackendMatrix().c_str());
    return kExitOk;
  }
  ThreadPool::Options pool_options;
  pool_options.num_threads = flags.engine.threads;
  ThreadPool threads(pool_options);
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Device> device, OpenDevice(flags.engine.device));
  const BackendContext context{device.get(), &threads};
  TESSERA_ASSIGN_OR_RETURN(const std::vector<BackendEntry> plugins,
                           LoadBackendPlugins(flags.engine.attention_plugins));
  if (flags.explain) return Explain(flags, context, plugins);
  const std::vector<FeatureProbe> probes = FeatureProbes();
  const std::vector<BackendReport> reports = ReportBackends(context, plugins);
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
                    "Say for each kind of layer of the model which backend computes it, at what "
                    "predicted cost, and why no other");
  command->add_flag("--matrix", flags->matrix,
                    "What every backend supports on machines that it runs on, as Markdown");
  command->add_flag("--json", flags->json, "As JSON");
  AddModelFlags(command, &flags->engine);
  AddAttentionFlags(command, &flags->engine);
  (*commands)[command] = [flags] { return Finish(Backends(*flags)); };
}

}  // namespace tessera
