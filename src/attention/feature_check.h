// What a backend implements, as data; the reasons of its refusals follow from it, all of them and
// worded alike.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tessera/backend.h"

namespace tessera {

// Nothing but plain causal attention, until it is said.
struct FeatureSet {
  // Every type and feature there is, with heads of 1 to 1024: backends then take away what they do
  // not compute.
  static FeatureSet All();

  std::vector<DType> query_dtypes;
  std::vector<DType> cache_dtypes;
  std::vector<DType> output_dtypes;
  int32_t min_head_size = 1;
  int32_t max_head_size = 512;
  std::vector<int32_t> head_sizes = {};  // if only some of that range are compiled; empty: all
  bool differing_value_size = true;
  bool full_attention = true;  // Causality::kFull
  bool per_request_causality = false;
  bool window = false;
  bool chunks = false;
  bool soft_cap = false;
  bool alibi = false;
  bool sinks = false;
  bool query_query_bias = false;
  bool prefix_ranges = false;
  bool encoder = false;
  bool cross = false;
  std::vector<ScaleMode> scale_modes = {ScaleMode::kNone};
  bool fp8_output = false;
};

// Every reason why `features` do not cover the spec.
std::vector<std::string> RefusalReasons(const FeatureSet& features, const AttentionSpec& spec,
                                        int32_t block_size);

}  // namespace tessera
