// tessera backends: what this build's attention backends can do here, and why not.
#include <fmt/format.h>

#include <algorithm>
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
#include "device/gpu/gpu_driver.h"
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

// What the backends of this build say of one device.
struct DeviceReport {
  std::string name;  // as --device takes it
  DeviceInfo info;
  std::vector<BackendReport> backends;
};

struct AllReports {
  std::vector<DeviceReport> devices;
  std::vector<Error> missing;  // why others are not at hand
};

Status AddReport(const std::string& name, ThreadPool* threads,
                 const std::vector<BackendEntry>& plugins, AllReports* reports) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Device> device, OpenDevice(name));
  reports->devices.push_back(
      {name, device->info(), ReportBackends({device.get(), threads}, plugins)});
  return {};
}

// Of every device at hand: the CPU, all GPUs, the emulated ones.
AllReports ReportAll(ThreadPool* threads, const std::vector<BackendEntry>& plugins) {
  AllReports reports;
  const auto add = [&](const std::string& name) {
    const Status status = AddReport(name, threads, plugins, &reports);
    if (!status.ok()) reports.missing.push_back(status.error());
  };
  const auto add_gpus = [&](const std::string& name, auto load_driver) {
    int count = 0;
    if (const auto driver = load_driver(); driver.ok()) count = CountGpus(driver->get());
    // If there is none, the first one says why.
    for (int i = 0; i < std::max(count, 1); ++i) add(name + ":" + std::to_string(i));
  };
  add("cpu");
  add_gpus("cuda", &LoadCudaDriver);
  add_gpus("hip", &LoadHipDriver);
  for (const char* const name : {"simt-emulated", "rocm-emulated"}) add(name);
  return reports;
}

void PrintJson(const AllReports& reports, const std::vector<FeatureProbe>& probes) {
  auto devices = nlohmann::ordered_json::array();
  for (const DeviceReport& device : reports.devices) {
    auto backends = nlohmann::ordered_json::array();
    for (const BackendReport& report : device.backends) {
      nlohmann::ordered_json features = nlohmann::ordered_json::object();
      for (size_t i = 0; i < probes.size(); ++i) {
        features[probes[i].name] = report.features[i].ok();
      }
      backends.push_back({{"name", report.name},
                          {"description", report.description},
                          {"usable", report.usable.ok()},
                          {"reason", JoinReasons(report.usable)},
                          {"features", features}});
    }
    devices.push_back({{"device", device.name},
                       {"name", device.info.name},
                       {"arch", device.info.arch},
                       {"backends", backends}});
  }
  std::printf("%s\n", devices.dump(2).c_str());
}

// The devices, then where each backend is usable, or why it is not.
void PrintDevices(const AllReports& reports) {
  for (const DeviceReport& device : reports.devices) {
    std::printf("%-14s %s, %s\n", device.name.c_str(), device.info.name.c_str(),
                device.info.arch.c_str());
  }
  for (const Error& error : reports.missing) std::printf("not here: %s\n", error.message.c_str());
  std::printf("\n");
  for (size_t i = 0; i < reports.devices.front().backends.size(); ++i) {
    const BackendReport& any = reports.devices.front().backends[i];
    std::printf("%-14s %s\n", any.name.c_str(), any.description.c_str());
    std::string usable, refused;
    for (const DeviceReport& device : reports.devices) {
      const Support& support = device.backends[i].usable;
      if (support.ok()) {
        usable += (usable.empty() ? "usable on " : ", ") + device.name;
      } else {
        refused += fmt::format("{:14} not on {}: {}\n", "", device.name, JoinReasons(support));
      }
    }
    if (!usable.empty()) std::printf("%-14s %s\n", "", usable.c_str());
    std::printf("%s", refused.c_str());
  }
}

// One column for each device, with one for each of its backends in it.
void PrintTable(const AllReports& reports, const std::vector<FeatureProbe>& probes) {
  std::string devices = fmt::format("{:28}", ""), backends = devices;
  std::vector<std::string> rows;
  for (const FeatureProbe& probe : probes) rows.push_back(fmt::format("{:28}", probe.name));
  for (const DeviceReport& device : reports.devices) {
    const size_t begin = backends.size();
    for (const BackendReport& report : device.backends) {
      if (!report.usable.ok()) continue;
      backends += fmt::format("{:11} ", report.name);
      for (size_t i = 0; i < probes.size(); ++i) {
        rows[i].resize(backends.size(), ' ');
        const size_t width = std::max<size_t>(report.name.size(), 11) + 1;
        rows[i].replace(backends.size() - width, 3, report.features[i].ok() ? "yes" : "-  ");
      }
    }
    if (backends.size() == begin) continue;
    devices.resize(begin, ' ');
    devices += device.name;
    backends.resize(std::max(backends.size(), devices.size() + 1), ' ');
  }
  std::printf("\n%s\n%s\n", devices.c_str(), backends.c_str());
  for (const std::string& row : rows) std::printf("%s\n", row.c_str());
}

void PrintReasons(const AllReports& reports, const std::vector<FeatureProbe>& probes) {
  std::printf("\n");
  for (const DeviceReport& device : reports.devices) {
    for (const BackendReport& report : device.backends) {
      if (!report.usable.ok()) continue;
      for (size_t i = 0; i < probes.size(); ++i) {
        if (report.features[i].ok()) continue;
        std::printf("%s, %s, %s: %s\n", device.name.c_str(), report.name.c_str(),
                    probes[i].name.c_str(), JoinReasons(report.features[i]).c_str());
      }
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
  TESSERA_ASSIGN_OR_RETURN(const std::vector<BackendEntry> plugins,
                           LoadBackendPlugins(flags.engine.attention_plugins));
  if (flags.explain) {
    TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Device> device, OpenDevice(flags.engine.device));
    return Explain(flags, {device.get(), &threads}, plugins);
  }
  AllReports reports;
  if (flags.engine.device == "auto") {
    reports = ReportAll(&threads, plugins);
  } else {
    TESSERA_RETURN_IF_ERROR(AddReport(flags.engine.device, &threads, plugins, &reports));
  }
  const std::vector<FeatureProbe> probes = FeatureProbes();
  if (flags.json) {
    PrintJson(reports, probes);
    return kExitOk;
  }
  PrintDevices(reports);
  PrintTable(reports, probes);
  if (flags.reasons) PrintReasons(reports, probes);
  return kExitOk;
}

}  // namespace

void AddBackendsCommand(CLI::App* app, CommandTable* commands) {
  const auto flags = std::make_shared<BackendsFlags>();
  CLI::App* command = app->add_subcommand(
      "backends",
      "List the attention backends and what they support on each device here, or on --device");
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
