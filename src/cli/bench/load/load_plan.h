// What a load test asks for: requests with random prompts and lengths, and when they begin.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tessera/result.h"

namespace tessera {

struct LoadOptions {
  int64_t num_requests = 256;
  double input_tokens = 128;  // mean
  double output_tokens = 64;  // mean
  // Of the logarithm of the lengths: 0 gives every request the mean; 1 is about the spread of
  // conversations with people.
  double length_sigma = 0;
  // Requests in a second at random times (Poisson); 0: closed loop, each client asks again as soon
  // as it has its answer.
  double rate = 0;
  int64_t concurrency = 16;  // clients of the closed loop; of an open loop none
  uint64_t seed = 1;
};

struct PlannedRequest {
  std::vector<int32_t> prompt;
  int32_t output_tokens = 1;
  double start_seconds = 0;  // of the open loop
};

// Depends on its arguments alone. Prompt tokens are in [first_token, vocab_size); no request is
// longer than `max_model_len`. kInvalidArgument if the options are out of range.
Result<std::vector<PlannedRequest>> PlanLoad(const LoadOptions& options, int64_t first_token,
                                             int64_t vocab_size, int64_t max_model_len);

// The body of /v1/completions for it: a stream with exactly that many tokens.
std::string RequestBody(const PlannedRequest& request, const std::string& model);

}  // namespace tessera
