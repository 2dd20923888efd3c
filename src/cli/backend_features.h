// What a backend supports, found out by asking it about sample layers.
#pragma once

#include <string>
#include <vector>

#include "tessera/attention_spec.h"
#include "tessera/backend.h"
#include "tessera/registry.h"

namespace tessera {

// One row of the table: a plain layer with one feature switched on.
struct FeatureProbe {
  std::string name;
  AttentionSpec spec;
  int32_t block_size = 16;
};

// Every feature of AttentionSpec, and block sizes of hybrid models. All specs are valid.
std::vector<FeatureProbe> FeatureProbes();

// What one backend says of a device: whether it works there, and for each feature whether it
// computes it.
struct BackendReport {
  std::string name;
  std::string description;
  Support usable;
  std::vector<Support> features;  // in the order of FeatureProbes()
};

// All backends of this build for context.device, in the registry's order, then the plugins'.
std::vector<BackendReport> ReportBackends(const BackendContext& context,
                                          const std::vector<BackendEntry>& plugins = {});

// "a; b"
std::string JoinReasons(const Support& support);

}  // namespace tessera
