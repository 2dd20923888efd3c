// What the operations on a CPU know of any weights.
#pragma once

#include <cstdint>
#include <memory>

#include "ops/ops.h"
#include "tessera/device.h"

namespace tessera {

class CpuWeights : public LinearWeights {
 public:
  // Row `row` of W as float32, values[in_features].
  virtual void ReadRow(int64_t row, float* values) const = 0;
};

// A copy of the table in its own type, row by row: for Embed(). The caller has opened the device's
// memory.
Result<std::unique_ptr<CpuWeights>> MakeRowTable(const WeightSource& table, Device& device);

}  // namespace tessera
