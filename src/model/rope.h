// Rotary position embedding: frequencies and the table of cosines and sines, as Hugging Face
// transformers computes them (modeling_rope_utils.py).
#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "ops/ops.h"
#include "tessera/device.h"

namespace tessera {

struct RopeFrequencies {
  std::vector<float> inverse;     // [rotary_size / 2], radians per token
  float attention_factor = 1.0f;  // multiplies cosines and sines (yarn); else 1
};

// How many leading dimensions of a head are turned: head_size * partial_rotary_factor, whole pairs.
int32_t RotarySize(const RopeConfig& rope, int32_t head_size);

// `max_model_len` is the longest sequence that will be served; only kDynamic depends on it.
//
// kDynamic: transformers recomputes the base whenever a batch holds a sequence longer than any
// before, so that keys in one cache are turned by different frequencies and a request's result
// depends on what ran beside it. Here the base is that of max_model_len from the first token on:
// what transformers computes for one prompt of that length. Up to max_position_embeddings that is
// the plain embedding.
RopeFrequencies ComputeRopeFrequencies(const RopeConfig& rope, int32_t rotary_size,
                                       int64_t max_position_embeddings, int64_t max_model_len);

// The longest sequence that the embedding is made for: max_position_embeddings, and for the types
// whose factor stretches a shorter context (linear, dynamic, yarn) the stretched one if it is
// longer.
int64_t MaxSupportedLength(const RopeConfig& rope, int64_t max_position_embeddings);

// Cosines and sines of positions 0 .. max_model_len - 1 on a device, at addresses that stay;
// computed when they are first needed.
class DeviceRope {
 public:
  // `config` gives rope, head_size and max_position_embeddings.
  DeviceRope(const ModelConfig& config, int64_t max_model_len);

  // Must come first. Fails if the device has no memory for the table.
  Status Allocate(Device& device);

  // Queues the rows of the positions below `positions` <= max_model_len() that are not there yet.
  void Fill(int64_t positions, Stream& stream);

  // Valid as long as this is.
  RopeTable table() const;

  int64_t max_model_len() const { return max_model_len_; }

 private:
  int32_t rotary_size_;
  int64_t max_model_len_;
  int64_t filled_ = 0;  // rows
  RopeFrequencies frequencies_;
  Buffer cos_;
  Buffer sin_;
};

}  // namespace tessera
