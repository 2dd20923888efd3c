#include "cli/bench/load/load_plan.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "server/protocol/json.h"

namespace tessera {
namespace {

// Uniform in (0, 1). The standard distributions differ between libraries; this does not.
double Uniform(std::mt19937_64* random) {
  return (static_cast<double>((*random)() >> 11) + 0.5) / 9007199254740992.0;
}

double Normal(std::mt19937_64* random) {
  constexpr double kTwoPi = 6.283185307179586;
  const double radius = std::sqrt(-2 * std::log(Uniform(random)));
  return radius * std::cos(kTwoPi * Uniform(random));
}

// Log-normal with the mean `mean`.
int64_t Length(double mean, double sigma, std::mt19937_64* random) {
  const double length = mean * std::exp(sigma * Normal(random) - sigma * sigma / 2);
  return std::max<int64_t>(1, std::llround(std::min(length, 1e9)));
}

}  // namespace

Result<std::vector<PlannedRequest>> PlanLoad(const LoadOptions& options, int64_t first_token,
                                             int64_t vocab_size, int64_t max_model_len) {
  if (options.num_requests < 1 || options.concurrency < 1 || !(options.rate >= 0) ||
      !(options.input_tokens >= 1) || !(options.output_tokens >= 1) ||
      !(options.length_sigma >= 0 && options.length_sigma <= 4)) {
    return InvalidArgument(
        "the load needs at least 1 request, 1 client and lengths of at least 1 token, a rate of "
        "at least 0 and a sigma in 0 to 4");
  }
  if (first_token >= vocab_size || max_model_len < 2) {
    return InvalidArgument("the model's vocabulary or its longest request is too small for a load");
  }
  std::mt19937_64 random(options.seed);
  std::vector<PlannedRequest> requests(static_cast<size_t>(options.num_requests));
  double start = 0;
  for (PlannedRequest& request : requests) {
    const int64_t input =
        std::min(Length(options.input_tokens, options.length_sigma, &random), max_model_len - 1);
    const int64_t output = std::min(Length(options.output_tokens, options.length_sigma, &random),
                                    max_model_len - input);
    request.output_tokens = static_cast<int32_t>(output);
    const uint64_t choices = static_cast<uint64_t>(vocab_size - first_token);
    for (int64_t i = 0; i < input; ++i) {
      request.prompt.push_back(static_cast<int32_t>(first_token) +
                               static_cast<int32_t>(random() % choices));
    }
    if (options.rate > 0) start += -std::log(Uniform(&random)) / options.rate;
    request.start_seconds = start;
  }
  return requests;
}

std::string RequestBody(const PlannedRequest& request, const std::string& model) {
  return Dump({{"model", model},
               {"prompt", request.prompt},
               {"max_tokens", request.output_tokens},
               {"min_tokens", request.output_tokens},
               {"ignore_eos", true},
               {"temperature", 0},
               {"stream", true},
               {"stream_options", {{"include_usage", true}}}});
}

}  // namespace tessera
