#include "tessera/merge.h"

#include "attention/merge_states.h"

namespace tessera {

float MergeStates(std::span<const PartialState> states, int32_t size, float* output) {
  return MergeStatesOf(
      static_cast<int32_t>(states.size()),
      [&](int32_t s) { return states[static_cast<size_t>(s)]; }, size, output);
}

}  // namespace tessera
