#include "cli/bench/load/load_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <numeric>

namespace tessera {
namespace {

constexpr std::array kPercents = {50, 90, 95, 99};

Json Summary(const std::vector<double>& seconds) {
  Json json;
  const double sum = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  json["mean"] = seconds.empty() ? 0 : 1000 * sum / static_cast<double>(seconds.size());
  for (const int percent : kPercents) {
    json["p" + std::to_string(percent)] = 1000 * Percentile(seconds, percent);
  }
  json["max"] = 1000 * Percentile(seconds, 100);
  return json;
}

bool IsGood(const LoadReport& report, const LoadResult& result) {
  return (report.first_token_limit <= 0 || result.first_token <= report.first_token_limit) &&
         (report.token_limit <= 0 || SecondsPerToken(result) <= report.token_limit);
}

}  // namespace

double SecondsPerToken(const LoadResult& result) {
  if (result.output_tokens < 2) return 0;
  return (result.last_token - result.first_token) / static_cast<double>(result.output_tokens - 1);
}

double Percentile(std::vector<double> values, double percent) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double rank = percent / 100 * static_cast<double>(values.size() - 1);
  const size_t below = static_cast<size_t>(rank);
  const size_t above = std::min(below + 1, values.size() - 1);
  const double share = rank - std::floor(rank);
  return values[below] + share * (values[above] - values[below]);
}

Json ReportJson(const LoadReport& report) {
  std::vector<double> first, per_token, intervals, whole;
  std::map<int, int64_t> failures;
  int64_t complete = 0, good = 0, prompt_tokens = 0, output_tokens = 0;
  for (const LoadResult& result : report.results) {
    if (!result.complete) {
      ++failures[result.status];
      continue;
    }
    ++complete;
    if (IsGood(report, result)) ++good;
    prompt_tokens += result.prompt_tokens;
    output_tokens += result.output_tokens;
    first.push_back(result.first_token);
    whole.push_back(result.last_token);
    if (result.output_tokens >= 2) per_token.push_back(SecondsPerToken(result));
    intervals.insert(intervals.end(), result.intervals.begin(), result.intervals.end());
  }
  const auto rate = [&](int64_t count) {
    return report.seconds > 0 ? static_cast<double>(count) / report.seconds : 0;
  };
  Json json;
  json["requests"] = report.results.size();
  json["complete"] = complete;
  json["failed_by_status"] = Json::object();
  for (const auto& [status, count] : failures) {
    json["failed_by_status"][std::to_string(status)] = count;
  }
  json["seconds"] = report.seconds;
  json["requests_per_second"] = rate(complete);
  json["good_requests_per_second"] = rate(good);
  json["prompt_tokens"] = prompt_tokens;
  json["output_tokens"] = output_tokens;
  json["prompt_tokens_per_second"] = rate(prompt_tokens);
  json["output_tokens_per_second"] = rate(output_tokens);
  json["ttft_ms"] = Summary(first);
  json["tpot_ms"] = Summary(per_token);
  json["itl_ms"] = Summary(intervals);
  json["e2e_ms"] = Summary(whole);
  return json;
}

std::string ReportText(const LoadReport& report) {
  const Json json = ReportJson(report);
  std::string text;
  const auto line = [&](const char* name, const char* format, auto... values) {
    char buffer[256];
    int used = std::snprintf(buffer, sizeof(buffer), "%-22s", name);
    used +=
        std::snprintf(buffer + used, sizeof(buffer) - static_cast<size_t>(used), format, values...);
    text += std::string(buffer, static_cast<size_t>(used)) + "\n";
  };
  const auto number = [&](const char* name) { return json[name].get<double>(); };
  line("requests", "%.0f of %.0f complete in %.1f s, %.2f/s (%.2f/s within the limits)",
       number("complete"), number("requests"), number("seconds"), number("requests_per_second"),
       number("good_requests_per_second"));
  for (const auto& [status, count] : json["failed_by_status"].items()) {
    line("failed", "%lld with status %s", static_cast<long long>(count.get<int64_t>()),
         status.c_str());
  }
  line("prompt tokens", "%.0f, %.1f/s", number("prompt_tokens"),
       number("prompt_tokens_per_second"));
  line("output tokens", "%.0f, %.1f/s", number("output_tokens"),
       number("output_tokens_per_second"));
  line("milliseconds", "%9s %9s %9s %9s %9s %9s", "mean", "p50", "p90", "p95", "p99", "max");
  const std::pair<const char*, const char*> rows[] = {{"first token (TTFT)", "ttft_ms"},
                                                      {"per token (TPOT)", "tpot_ms"},
                                                      {"between tokens (ITL)", "itl_ms"},
                                                      {"whole request", "e2e_ms"}};
  for (const auto& [title, key] : rows) {
    const auto value = [&, row = key](const char* name) { return json[row][name].get<double>(); };
    line(title, "%9.2f %9.2f %9.2f %9.2f %9.2f %9.2f", value("mean"), value("p50"), value("p90"),
         value("p95"), value("p99"), value("max"));
  }
  return text;
}

}  // namespace tessera
