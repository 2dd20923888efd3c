// What a load test found.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/protocol/json.h"

namespace tessera {

// One request, as its client saw it. Times are seconds.
struct LoadResult {
  int status = 0;         // of HTTP; 0: the connection failed
  bool complete = false;  // the answer came to its end without an error
  int64_t prompt_tokens = 0;
  int64_t output_tokens = 0;
  double first_token = 0;         // since the request was sent (open loop: was due)
  double last_token = 0;          // likewise
  std::vector<double> intervals;  // between two pieces of the stream
};

struct LoadReport {
  std::vector<LoadResult> results;
  double seconds = 0;  // from the first request to the last answer
  // A request counts for goodput if both hold; 0: no limit.
  double first_token_limit = 0;
  double token_limit = 0;  // of the mean time for each token after the first
};

// Mean seconds for each token after the first; 0 if there is none.
double SecondsPerToken(const LoadResult& result);

// The value below which `percent` of the values lie, between neighbours by proportion. 0 for none.
double Percentile(std::vector<double> values, double percent);

// {"requests", "failed", "seconds", "requests_per_second", ..., "ttft_ms": {"mean", "p50", ...}}
Json ReportJson(const LoadReport& report);

// The same as a table for people.
std::string ReportText(const LoadReport& report);

}  // namespace tessera
