// The latencies of a load test as a drawing.
#pragma once

#include <string>

#include "cli/bench/load/load_report.h"

namespace tessera {

// Cumulative distributions of the time to the first token, for each further token, between pieces
// of the stream and of whole requests, over a logarithmic axis of milliseconds.
std::string LatencySvg(const LoadReport& report, const std::string& title);

}  // namespace tessera
