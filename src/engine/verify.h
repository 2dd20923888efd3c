// A model's logits against recorded ones: the shortest way from a checkpoint to numbers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tessera/dtype.h"
#include "tessera/result.h"

namespace tessera {

struct VerifyOptions {
  std::string model_dir;
  std::string golden_path;           // empty: MODEL_DIR/golden.safetensors
  std::string device = "cpu";        // as OpenDevice()
  std::string backend = "auto";      // as SelectionRequest has it
  std::vector<std::string> plugins;  // paths of shared libraries with further backends
  DType dtype = DType::kFloat32;
  int32_t chunk = 0;  // tokens of a sequence in one step; 0: all of them at once
  int threads = 0;    // 0: every core
  int32_t block_size = 16;
  // Run all golden sequences in one batch, together with this many made-up ones of other lengths
  // and chunks; 0: each golden sequence alone.
  int32_t companions = 0;
};

struct LogitsReport {
  std::string backend;   // that was chosen; several, if kinds of layers have their own
  int64_t count = 0;     // logits that were compared
  double max_error = 0;  // largest absolute difference; infinite if a logit is NaN
  double mean_error = 0;
  double largest_logit = 0;  // largest magnitude that was recorded
  int64_t rows = 0;          // tokens
  int64_t argmax_matches = 0;
};

// Compares a model's logits with recorded ones: a safetensors file with input_ids [B, T] int64 and
// logits [B, T, vocab_size] float32. The pages of the sequences lie interleaved, and hold NaN until
// they are written.
Result<LogitsReport> VerifyGolden(const VerifyOptions& options);

}  // namespace tessera
