#include "cli/bench/attention_report.h"

#include <fmt/format.h>

#include <algorithm>

namespace tessera {

std::string ToText(const AttentionReport& report) {
  std::string text = fmt::format(
      "{}\n{}, {} threads\nmultiplications at {:.0f} GFLOP/s ({}), float32 at {:.0f}\n\n",
      report.layer, report.machine, report.threads, report.multiply_rate * 1e-9,
      report.multiply_kind, report.float32_rate * 1e-9);
  text += fmt::format("{:<24} {:<12} {:>10} {:>8} {:>10} {:>8}  {}\n", "batch", "backend", "ms",
                      "GB/s", "GFLOP/s", "of bound", "bound");
  std::string workload;
  for (const AttentionMeasurement& m : report.measurements) {
    const std::string name = m.workload == workload ? "" : m.workload;
    workload = m.workload;
    if (!m.refusal.empty()) {
      text += fmt::format("{:<24} {:<12} no: {}\n", name, m.backend, m.refusal);
      continue;
    }
    const std::string bound =
        m.memory_bound
            ? fmt::format("reading at {:.1f} GB/s, in pages {:.1f}", m.read_bytes_per_second * 1e-9,
                          m.paged_bytes_per_second * 1e-9)
            : "multiplying";
    text += fmt::format("{:<24} {:<12} {:>10.3f} {:>8.1f} {:>10.1f} {:>7.0f}%  {}\n", name,
                        m.backend, m.seconds * 1e3, m.kv_bytes / m.seconds * 1e-9,
                        m.operations / m.seconds * 1e-9, 100 * m.bound_seconds / m.seconds, bound);
  }
  return text;
}

nlohmann::ordered_json ToJson(const AttentionReport& report) {
  nlohmann::ordered_json json = {{"machine", report.machine},
                                 {"threads", report.threads},
                                 {"layer", report.layer},
                                 {"multiply_operations_per_second", report.multiply_rate},
                                 {"multiply_kind", report.multiply_kind},
                                 {"float32_operations_per_second", report.float32_rate},
                                 {"measurements", nlohmann::ordered_json::array()}};
  for (const AttentionMeasurement& m : report.measurements) {
    nlohmann::ordered_json entry = {{"batch", m.workload}, {"backend", m.backend}};
    if (!m.refusal.empty()) {
      entry["refusal"] = m.refusal;
    } else {
      entry.update({{"seconds", m.seconds},
                    {"kv_bytes", m.kv_bytes},
                    {"operations", m.operations},
                    {"read_bytes_per_second", m.read_bytes_per_second},
                    {"paged_bytes_per_second", m.paged_bytes_per_second},
                    {"bound_seconds", m.bound_seconds},
                    {"bound", m.memory_bound ? "read" : "multiply"},
                    {"share_of_bound", m.bound_seconds / m.seconds}});
    }
    json["measurements"].push_back(std::move(entry));
  }
  return json;
}

}  // namespace tessera
