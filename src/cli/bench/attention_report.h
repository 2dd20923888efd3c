// What `tessera bench attention` measured, and its three forms.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace tessera {

struct AttentionMeasurement {
  std::string workload;
  std::string backend;
  double seconds = 0;  // median of a step
  double kv_bytes = 0;
  double operations = 0;
  double read_bytes_per_second = 0;   // measured over as many bytes as the workload's cache
  double paged_bytes_per_second = 0;  // likewise, in pages in random order
  double bound_seconds = 0;           // the longer of reading the cache and of the multiplications
  bool memory_bound = false;          // which of them it is
  std::string refusal = {};           // why the backend does not compute this; empty: it does
};

struct AttentionReport {
  std::string machine;
  std::string layer;
  int threads = 0;
  double multiply_rate = 0;  // operations a second, of the fastest kind
  std::string multiply_kind = {};
  double float32_rate = 0;  // of float32 multiply-adds
  std::vector<AttentionMeasurement> measurements = {};
};

std::string ToText(const AttentionReport& report);
nlohmann::ordered_json ToJson(const AttentionReport& report);

// A roofline: operations a second over operations per byte, logarithmic, with the machine's
// measured bounds as lines.
std::string ToSvg(const AttentionReport& report);

}  // namespace tessera
