#include "engine/step_batch.h"

namespace tessera {

void StepBatch::Clear() {
  token_ids.clear();
  positions.clear();
  slot_mapping.clear();
  query_start_loc.clear();
  seq_lens.clear();
  changed_blocks.clear();
  common_prefix_len = 0;
  logit_rows.clear();
  sampling.rows.clear();
  sampling.history.clear();
  sampling.bias.clear();
  sampling.forbidden.clear();
  sampling.allowed.clear();
  sampling.allowed_besides.clear();
  returns_logits = false;
}

}  // namespace tessera
