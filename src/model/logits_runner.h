// Feeds token sequences through a model over a paged cache of its own and collects the logits: the
// shortest path from a checkpoint to numbers, for verification against recorded ones.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/model.h"
#include "tessera/backend.h"
#include "tessera/result.h"

namespace tessera {

// A fixed number of sequences, each with room for max_len tokens. The pages of the sequences lie
// interleaved and hold NaN until they are written. Not thread-safe.
class LogitsRunner {
 public:
  // Tokens that go behind those that a sequence has already.
  struct Piece {
    int32_t sequence = 0;
    std::span<const int32_t> tokens;  // may be empty
    int32_t num_logits = -1;          // how many of the last tokens' logits are wanted; -1: all
  };

  // `model` and `backend` outlive the runner. Fails where the backend refuses one of the layers.
  static Result<LogitsRunner> Create(Model* model, Backend* backend, int32_t num_sequences,
                                     int32_t max_len, int32_t block_size);

  // The same with a backend for each layer.
  static Result<LogitsRunner> Create(Model* model, std::vector<Backend*> backends,
                                     int32_t num_sequences, int32_t max_len, int32_t block_size);

  // One step over pieces of different sequences. Returns the wanted logits, piece by piece,
  // [wanted tokens, vocab_size].
  Result<std::vector<float>> Step(std::span<const Piece> pieces);

 private:
  LogitsRunner(Model* model, std::vector<Backend*> backends, int32_t num_sequences, int32_t max_len,
               int32_t block_size);

  Model* model_;
  std::vector<Backend*> backends_;  // [num_layers]
  int32_t block_size_;
  int32_t max_len_;
  int32_t pages_;                                      // of one sequence
  std::vector<int32_t> lengths_;                       // [num_sequences] tokens so far
  std::vector<std::vector<std::byte>> memory_;         // [num_layers]
  std::vector<KvCache> caches_;                        // [num_layers]
  std::vector<std::unique_ptr<AttentionPlan>> plans_;  // [num_layers], memory to reuse
};

struct VerifyOptions {
  std::string model_dir;
  std::string golden_path;           // empty: MODEL_DIR/golden.safetensors
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
  std::string backend;   // that was chosen; several, where kinds of layers have their own
  int64_t count = 0;     // logits that were compared
  double max_error = 0;  // largest absolute difference; infinite where a logit is NaN
  double mean_error = 0;
  int64_t rows = 0;  // tokens
  int64_t argmax_matches = 0;
};

// Compares a model's logits with recorded ones: a safetensors file with input_ids [B, T] int64 and
// logits [B, T, vocab_size] float32.
Result<LogitsReport> VerifyGolden(const VerifyOptions& options);

}  // namespace tessera
