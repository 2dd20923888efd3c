// Many clients of a server with the OpenAI protocol, on one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cli/bench/load/load_plan.h"
#include "cli/bench/load/load_report.h"
#include "tessera/result.h"

namespace tessera {

struct LoadTarget {
  std::string host = "127.0.0.1";
  std::string port = "8000";
  std::string api_key;  // "": none
  std::string model;    // "": the first one that the server names
  int64_t max_model_len = 0;
  int64_t vocab_size = 0;
};

// "http://HOST:PORT", with or without a path after it.
Result<LoadTarget> ParseTarget(const std::string& url);

// Asks the server for its model, longest request and vocabulary, if they are not set.
Status AskTarget(LoadTarget* target);

// Sends the requests, each on a connection of its own, and reads the streams. `on_done` hears how
// many have ended. Requests that fail are results as well.
Result<LoadReport> RunLoad(const LoadTarget& target, const LoadOptions& options,
                           const std::vector<PlannedRequest>& requests,
                           const std::function<void(int64_t)>& on_done);

}  // namespace tessera
