#include "cli/backend_matrix.h"

#include <memory>
#include <vector>

#include "cli/backend_features.h"
#include "tessera/registry.h"

namespace tessera {

std::string BackendMatrix() {
  ThreadPool threads(ThreadPool::Options{.num_threads = 1});
  const std::unique_ptr<Device> device = CreateCpuDevice();
  const BackendContext context{device.get(), &threads};
  const std::vector<FeatureProbe> probes = FeatureProbes();
  std::string heading = "| feature |";
  std::string rule = "|---|";
  std::vector<std::string> rows;
  for (const FeatureProbe& probe : probes) rows.push_back("| " + probe.name + " |");
  std::string backends;
  std::string reasons;
  for (const BackendEntry& entry : BackendEntries()) {
    const auto created = entry.create(context);
    if (!created.ok()) continue;
    const Backend& backend = **created;
    heading += " " + entry.name + " |";
    rule += "---|";
    backends += "- `" + entry.name + "`: " + entry.description + "\n";
    for (size_t i = 0; i < probes.size(); ++i) {
      const Support support = backend.Supports(probes[i].spec, probes[i].block_size);
      rows[i] += support.ok() ? " yes |" : " no |";
      if (support.ok()) continue;
      reasons += "- `" + entry.name + "`, " + probes[i].name + ": " + JoinReasons(support) + "\n";
    }
  }
  std::string text = backends + "\n" + heading + "\n" + rule + "\n";
  for (const std::string& row : rows) text += row + "\n";
  if (!reasons.empty()) text += "\nWhy not:\n\n" + reasons;
  return text;
}

}  // namespace tessera
