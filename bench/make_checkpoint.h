// Random checkpoints of the Llama architecture, for measuring speed and memory at any size.
#pragma once

#include <cstdint>
#include <string>

#include "tessera/result.h"

namespace tessera {

// The defaults are the shape of Llama-3.2-1B with a vocabulary of 32,000.
struct RandomCheckpoint {
  std::string directory;  // made if it does not exist; files in it are replaced
  int64_t hidden_size = 2048;
  int64_t intermediate_size = 8192;
  int64_t num_layers = 16;
  int64_t num_heads = 32;
  int64_t num_kv_heads = 8;
  int64_t head_size = 64;
  int64_t vocab_size = 32000;
  int64_t max_position_embeddings = 131072;
  double rope_theta = 500000.0;
  bool tied = true;
  int64_t shard_bytes = 0;  // begin another shard beyond this size; 0: one file
  uint64_t seed = 1;
  std::string tokenizer_directory;  // whose tokenizer files are copied; empty: none
};

// Writes bfloat16 weights piece by piece, so that memory does not limit the size. The scales keep
// activations and logits near 1. A seed gives the same weights on every machine, however they are
// divided into shards.
Status WriteRandomCheckpoint(const RandomCheckpoint& options);

}  // namespace tessera
