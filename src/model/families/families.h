// The model families: each is one file that says which tensors of a checkpoint make which part of a
// Decoder, and what of config.json it reads.
#pragma once

#include <span>
#include <vector>

#include "model/config.h"
#include "model/decoder.h"
#include "model/weights.h"
#include "tessera/attention_spec.h"
#include "tessera/result.h"

namespace tessera {

struct Family {
  const char* architecture;  // as config.json names it
  // Keys that this family reads; in others they change nothing or are refused (config.cc).
  bool biases;          // attention_bias and mlp_bias
  bool sliding_window;  // sliding_window
  std::vector<AttentionSpec> (*layer_specs)(const ModelConfig& config, DType cache_dtype,
                                            DType activation_dtype);
  // `specs`: one for each layer, as layer_specs made them.
  Result<Decoder> (*describe)(const ModelConfig& config, const std::vector<AttentionSpec>& specs,
                              WeightLoader& loader);
};

std::span<const Family> Families();

// Null if no family has this architecture.
const Family* FindFamily(std::string_view architecture);

// Llama and Mistral: pre-norm layers with rotary embedding, grouped-query attention and a gated
// SiLU network (arXiv 2302.13971, 2407.21783; Mistral 2310.06825 adds a sliding window).
std::vector<AttentionSpec> LlamaLayerSpecs(const ModelConfig& config, DType cache_dtype,
                                           DType activation_dtype);
Result<Decoder> DescribeLlama(const ModelConfig& config, const std::vector<AttentionSpec>& specs,
                              WeightLoader& loader);

}  // namespace tessera
