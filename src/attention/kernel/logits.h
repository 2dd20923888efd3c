// How a kernel instance turns scores into logits.
#pragma once

#include <cstdint>

namespace tessera::kernel {

enum class Logits : uint8_t {
  kScaled,      // q . k * scale; the query carries all factors
  kSoftCapped,  // and a soft cap
  kBiased,      // a soft cap or none, ALiBi, a query-query bias: whatever the arguments ask for
};

constexpr const char* ToString(Logits logits) {
  return logits == Logits::kScaled       ? "scaled"
         : logits == Logits::kSoftCapped ? "soft cap"
                                         : "biased";
}

}  // namespace tessera::kernel
