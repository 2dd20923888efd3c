// tessera doctor: what the program finds on this machine.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "cli/backend_features.h"
#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/exit_code.h"
#include "cli/machine.h"
#include "cli/text.h"
#include "cli/version.h"
#include "device/bandwidth.h"
#include "tessera/device.h"
#include "tessera/thread_pool.h"

namespace tessera {
namespace {

nlohmann::ordered_json Examine() {
  const DeviceInfo cpu = DetectCpu();
  const MemoryFacts memory = ReadMemoryFacts();
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
                                 {"memory_bytes", memory.total_bytes},
                                 {"memory_available_bytes", memory.available_bytes}};
  if (memory.limit_bytes >= 0) json["memory_limit_bytes"] = memory.limit_bytes;

  json["backends"] = nlohmann::ordered_json::array();
  for (const BackendReport& report : ReportBackends({cpu, &threads})) {
    json["backends"].push_back({{"name", report.name},
                                {"usable", report.usable.ok()},
                                {"reason", JoinReasons(report.usable)}});
  }
  const auto model = DefaultModelDirectory();
  json["default_model"] = model.ok() ? *model : "";

  json["environment"] = nlohmann::ordered_json::object();
  json["warnings"] = nlohmann::ordered_json::array();
  for (const auto& [name, value] : TesseraVariables()) {
    json["environment"][name] = value;
    const std::string warning = VariableWarning(name);
    if (!warning.empty()) json["warnings"].push_back(warning);
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
  PrintRow("memory",
           Bytes(json["memory_bytes"]) + ", " + Bytes(json["memory_available_bytes"]) +
               " available" +
               (json.contains("memory_limit_bytes") ? ", limit " + Bytes(json["memory_limit_bytes"])
                                                    : ""));
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
      "doctor", "Show what the program finds here: machine, memory, backends, environment");
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
