// tessera doctor: what the program finds on this machine.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "attention/variable_warnings.h"
#include "base/control_group.h"
#include "base/environment.h"
#include "base/memory.h"
#include "cli/backend_features.h"
#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/exit_code.h"
#include "cli/text.h"
#include "cli/variables.h"
#include "cli/version.h"
#include "device/bandwidth.h"
#include "device/gpu/built_architectures.h"
#include "device/gpu/gpu_drivers.h"
#include "tessera/device.h"
#include "tessera/thread_pool.h"

namespace tessera {
namespace {

// Several times the last-level cache of most machines, and read in well under a second.
constexpr int64_t kBandwidthBytes = int64_t{1} << 30;

nlohmann::ordered_json Examine() {
  const std::unique_ptr<Device> device = CreateCpuDevice();
  const DeviceInfo cpu = device->info();
  ThreadPool threads;
  nlohmann::ordered_json json = {{"version", VersionText()},
                                 {"compiler", CompilerText()},
                                 {"libraries", LibraryVersions()},
                                 {"cpu", cpu.name},
                                 {"architecture", cpu.arch},
                                 {"features", cpu.features},
                                 {"cores", cpu.num_units},
                                 {"threads", threads.num_threads()},
                                 {"l2_bytes", cpu.l2_bytes},
                                 {"memory_bytes", TotalMemoryBytes()},
                                 {"memory_available_bytes", AvailableMemoryBytes()}};
  const ControlGroupMemory group = ReadControlGroupMemory();
  if (group.limit_bytes) json["memory_limit_bytes"] = *group.limit_bytes;

  json["gpus"] = nlohmann::ordered_json::array();
  for (const GpuDriver& driver : FindGpuDrivers()) {
    std::string use;
    if (driver.found()) {
      const auto opened = OpenDevice(driver.device);
      use = opened.ok() ? "usable as " + driver.device + ":0, " + (*opened)->info().name + ", " +
                              (*opened)->info().arch
                        : opened.error().message;
    }
    json["gpus"].push_back({{"maker", driver.maker},
                            {"found", driver.found()},
                            {"driver", driver.loads ? driver.library : ""},
                            {"devices", driver.devices},
                            {"text", Describe(driver)},
                            {"use", use}});
  }
  json["gpu_architectures"] = BuiltArchitectures();
  json["backends"] = nlohmann::ordered_json::array();
  for (const BackendReport& report : ReportBackends({device.get(), &threads})) {
    json["backends"].push_back({{"name", report.name},
                                {"usable", report.usable.ok()},
                                {"reason", JoinReasons(report.usable)}});
  }
  const auto bandwidth = MeasureReadBandwidth(threads, kBandwidthBytes);
  if (bandwidth.ok()) json["read_gigabytes_per_second"] = bandwidth->best;

  const auto model = DefaultModelDirectory();
  json["default_model"] = model.ok() ? *model : "";

  json["environment"] = nlohmann::ordered_json::object();
  json["warnings"] = nlohmann::ordered_json::array();
  const Environment environment = Environment::OfProcess();
  for (const std::string& name : environment.NamesWithPrefix("TESSERA_")) {
    json["environment"][name] = environment.String(name).value_or("");
    const std::string warning = VariableWarning(name);
    if (!warning.empty()) json["warnings"].push_back(warning);
  }
  for (const std::string& warning : AttentionVariableWarnings(environment)) {
    if (!warning.starts_with("TESSERA_")) json["warnings"].push_back(warning);
  }
  if (!model.ok()) json["warnings"].push_back(model.error().message);
  return json;
}

void PrintRow(const char* name, const std::string& text) {
  std::printf("%-12s %s\n", name, text.c_str());
}

std::string Bytes(const nlohmann::ordered_json& number) {
  return FormatBytes(number.get<double>());
}

void Print(const nlohmann::ordered_json& json) {
  const auto text = [&](const char* key) { return json[key].get<std::string>(); };
  PrintRow("tessera", text("version") + ", " + text("compiler"));
  PrintRow("libraries", text("libraries"));
  PrintRow("cpu", text("cpu") + ", " + text("architecture"));
  std::string features;
  for (const auto& feature : json["features"]) features += feature.get<std::string>() + " ";
  PrintRow("features", features);
  PrintRow("cores", json["cores"].dump() + ", " + json["threads"].dump() + " threads by default, " +
                        Bytes(json["l2_bytes"]) + " L2 each");
  PrintRow("memory", Bytes(json["memory_bytes"]) + ", " + Bytes(json["memory_available_bytes"]) +
                         " available" +
                         (json.contains("memory_limit_bytes")
                              ? ", the control group's limit " + Bytes(json["memory_limit_bytes"])
                              : ""));
  if (json.contains("read_gigabytes_per_second")) {
    std::printf("%-12s %.1f GB/s read by all threads, measured now\n", "bandwidth",
                json["read_gigabytes_per_second"].get<double>());
  }
  for (const auto& gpu : json["gpus"]) {
    PrintRow("gpu", gpu["maker"].get<std::string>() + ": " + gpu["text"].get<std::string>() +
                        (gpu["found"].get<bool>() ? "; " + gpu["use"].get<std::string>() : ""));
  }
  std::string architectures;
  for (const auto& arch : json["gpu_architectures"]) architectures += arch.get<std::string>() + " ";
  PrintRow("gpu kernels", architectures.empty() ? "none in this build" : architectures);
  for (const auto& backend : json["backends"]) {
    PrintRow("backend", backend["name"].get<std::string>() +
                            (backend["usable"].get<bool>()
                                 ? ": usable"
                                 : ": not here: " + backend["reason"].get<std::string>()));
  }
  PrintRow("model", text("default_model"));
  for (const auto& [name, value] : json["environment"].items()) {
    PrintRow("environment", name + "=" + value.get<std::string>());
  }
  for (const auto& warning : json["warnings"]) PrintRow("warning", warning.get<std::string>());
}

}  // namespace

void AddDoctorCommand(CLI::App* app, CommandTable* commands) {
  const auto as_json = std::make_shared<bool>(false);
  CLI::App* command = app->add_subcommand(
      "doctor", "Show what the program finds here: machine, GPUs, memory, backends, environment");
  command->add_flag("--json", *as_json, "As JSON");
  (*commands)[command] = [as_json] {
    const nlohmann::ordered_json json = Examine();
    if (*as_json) {
      std::printf(
          "%s\n",
          json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
    } else {
      Print(json);
    }
    return static_cast<int>(kExitOk);
  };
}

}  // namespace tessera
