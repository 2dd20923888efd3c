#include "cli/variables.h"

#include <limits>

#include "base/edit_distance.h"

namespace tessera {
namespace {

constexpr std::string_view kKnownVariables[] = {
    "TESSERA_API_KEY",     "TESSERA_ATTENTION_BACKEND", "TESSERA_BLAS",       "TESSERA_DEVICE",
    "TESSERA_DTYPE",       "TESSERA_KV_CACHE_SIZE",     "TESSERA_MODEL",      "TESSERA_SOURCE_DIR",
    "TESSERA_TEST_DEVICE", "TESSERA_TEST_EMULATED",     "TESSERA_TEST_SCALE", "TESSERA_TEST_SEED",
    "TESSERA_THREADS",
};

// A few slips of the fingers, or a plural: more is another word.
constexpr int kLargestSlip = 4;

}  // namespace

std::string VariableWarning(std::string_view name) {
  std::string_view nearest;
  int distance = std::numeric_limits<int>::max();
  for (const std::string_view known : kKnownVariables) {
    const int d = EditDistance(name, known);
    if (d == 0) return "";
    if (d < distance) {
      distance = d;
      nearest = known;
    }
  }
  const std::string start = std::string(name) + " is set, but nothing reads it";
  return distance <= kLargestSlip ? start + "; " + std::string(nearest) + " is probably meant"
                                  : start;
}

}  // namespace tessera
