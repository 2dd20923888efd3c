// The part of config.json that describes the rotary embedding.
#pragma once

#include "model/config.h"
#include "model/json_reader.h"
#include "tessera/result.h"

namespace tessera {

// Reads rope_theta + rope_scaling, and transformers 5's rope_parameters, which wins where both are
// there. The result's original_max_position_embeddings is never 0.
Result<RopeConfig> ReadRopeConfig(const JsonReader& config, int64_t max_position_embeddings);

}  // namespace tessera
