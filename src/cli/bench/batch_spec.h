// A batch of requests in the short form of vLLM's attention benchmarks: segments joined by "_",
// each [count]q<query_len>[s<seq_len>], numbers with an optional "k" for 1024. "2q2k_32q1s1k" is
// two prompts of 2048 tokens and 32 requests that decode their 1024th token. Without s the query is
// the whole sequence. Beyond vLLM: s<from>-<to> spreads the lengths of the segment's requests
// evenly.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/result.h"

namespace tessera {

struct RequestShape {
  int32_t query_len = 1;
  int32_t seq_len = 1;  // query included
  bool operator==(const RequestShape&) const = default;
};

// At most 100,000 requests of at most 16 M tokens; kInvalidArgument says which segment is wrong.
Result<std::vector<RequestShape>> ParseBatchSpec(std::string_view text);

}  // namespace tessera
