#include <cstdint>
#include <limits>
#include <string>

#include "engine/engine.h"
#include "engine/engine_parts.h"
#include "engine/sampling_params.h"

namespace tessera {

Status CheckOptions(const EngineOptions& options) {
  constexpr int32_t kMaxBlockSize = 65536;
  struct Range {
    const char* name;
    int64_t value;
    int64_t low, high;
  };
  constexpr int64_t kMax32 = std::numeric_limits<int32_t>::max();
  const Range ranges[] = {
      {"block_size", options.block_size, 1, kMaxBlockSize},
      {"max_batch_tokens", options.max_batch_tokens, 1, 1 << 20},
      {"max_running", options.max_running, 1, 1 << 20},
      {"max_model_len", options.max_model_len, 0, kMax32},
      {"kv_cache_bytes", options.kv_cache_bytes, 0, std::numeric_limits<int64_t>::max()},
      {"speculative_tokens", options.speculative_tokens, 0, kMaxSpeculativeTokens},
  };
  if (options.num_threads < 0) {
    return InvalidArgument("num_threads is " + std::to_string(options.num_threads) +
                           ", but must be at least 1, or 0 for all cores.");
  }
  if (!(options.request_timeout >= 0 && options.request_timeout <= kMaxTimeoutSeconds)) {
    return InvalidArgument("request_timeout is " + std::to_string(options.request_timeout) +
                           " seconds, but must be in 0 (any time) to " +
                           std::to_string(kMaxTimeoutSeconds) + ".");
  }
  for (const Range& r : ranges) {
    if (r.value >= r.low && r.value <= r.high) continue;
    return InvalidArgument(std::string(r.name) + " is " + std::to_string(r.value) +
                           ", but must be in " + std::to_string(r.low) + " to " +
                           std::to_string(r.high) + ".");
  }
  return {};
}

}  // namespace tessera
