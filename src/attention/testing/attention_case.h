// A random attention problem with its expected result, for tests of backends: paged, ragged,
// poisoned, on any device. The expectation is computed in float64 from dense copies by a definition
// of visibility that shares no code with the library.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "attention/testing/test_device.h"
#include "tessera/backend.h"

namespace tessera::testing {

struct Sequence {
  int32_t query_len = 1;
  int32_t seq_len = 1;  // query included, but in cross attention
  // Of a request that is computed in chunks: new tokens of those before.
  int32_t earlier_queries = 0;
};

struct CaseOptions {
  AttentionSpec spec;  // what its features need (slopes, sinks, spans ...) is made up
  std::vector<Sequence> sequences;
  int32_t block_size = 16;
  KvOrder order = KvOrder::kBlockHeadToken;
  bool separate_planes = false;  // all K before all V, as vLLM's (2, blocks, ...)
  bool value_in_key = false;     // V is the beginning of K, as in MLA
  int64_t block_padding = 0;     // elements between blocks
  int64_t query_padding = 0;     // elements between heads of the query and of the output
  bool scattered_blocks = true;  // block ids in random order, with holes
  int32_t padded_tokens = 0;     // rows past the last request
  int32_t skip_every = 0;  // every n-th new token's slot is -1; its key stays as it is in the cache
  int32_t common_prefix = 0;  // tokens that all requests have in the same blocks
  float query_size = 1.0f;    // of queries; keys are 1 / this size, so that scores stay
  float value_size = 1.0f;    // of values
  int32_t host_slack = 0;     // so much larger are the host's seq_lens than the device's
  unsigned seed = 1;
};

// How a case is run.
struct CaseRun {
  Device* device;                 // where its arrays are copied to
  AttentionPlan* plan = nullptr;  // of the case's spec, to be prepared again; null: a new one
  Phases phases = Phases::kBoth;  // of the plan: other requests' rows must stay as they are
};

std::string ToString(const CaseOptions& options);

class AttentionCase {
 public:
  explicit AttentionCase(const CaseOptions& options);
  ~AttentionCase();

  struct Errors {
    double output = 0;  // largest |got - want| / (atol + rtol |want|)
    double lse = 0;     // largest absolute
    double worst_absolute = 0;
    std::string problem;  // a broken rule, in words; empty: none
  };

  // Copies everything to the device, writes the new keys through the backend, runs it and compares.
  Errors Check(Backend* backend, const CaseRun& run, double atol, double rtol);

  // The same without comparison: the output as float32 [num_tokens, num_heads, value_size].
  std::vector<float> Run(Backend* backend, const CaseRun& run);

 private:
  struct Memory;

  // Keys or values of one sequence.
  struct Dense {
    std::vector<float> given;     // [key, kv_head, size] as the model computes them
    std::vector<double> rounded;  // as the cache keeps them, scales included
    std::vector<char> stored;     // the cache's elements
    std::vector<float> scales;    // [key, kv_head]: those by token and head
  };

  bool paged() const {
    return spec_.type == AttentionType::kDecoder || spec_.type == AttentionType::kCross;
  }
  int32_t ContextLen(size_t seq) const;
  void MakeBatch();
  void MakeCache();
  void MakeFeatures();
  void MakeSequence(size_t seq);
  Dense MakeDense(int32_t keys, int32_t size, float magnitude,
                  const std::vector<float>& head_scales, unsigned seed) const;
  void FillCache();
  void PlaceKey(size_t seq, int32_t key, bool seen);
  void MakeExpectation();
  void ExpectRow(size_t seq, int32_t token, int32_t head);
  bool Visible(size_t seq, int32_t query_position, int32_t key) const;
  double Bias(size_t seq, int32_t token, int32_t head, int32_t key) const;
  void CheckUntouched(Phases phases, Errors* errors) const;
  AttentionBatch CopyBatch(DeviceArrays* arrays) const;
  KvCache CopyCache(DeviceArrays* arrays) const;
  Status RunOn(Backend* backend, const CaseRun& run, DeviceArrays* arrays);
  std::vector<uint8_t> ComputedTokens(Phases phases) const;

  CaseOptions options_;
  AttentionSpec spec_;
  AttentionBatch batch_;  // host arrays
  KvCache cache_;         // in memory of the host
  int64_t cache_elements_ = 0;
  std::unique_ptr<Memory> memory_;
  std::vector<int32_t> query_start_loc_, seq_lens_, host_seq_lens_, block_table_, prefix_ranges_;
  std::vector<uint8_t> causal_;
  std::vector<int64_t> slot_mapping_;
  std::vector<float> slopes_, sinks_, bias_, key_scales_, value_scales_;
  std::vector<char> query_, output_, new_keys_, new_values_;
  DType new_dtype_ = DType::kFloat32;  // of the keys that the backend writes
  std::vector<Dense> keys_, values_;   // by sequence
  std::vector<double> want_, want_lse_;
  std::vector<float> lse_;
  float query_scale_ = 1.0f, output_scale_ = 1.0f;
  int64_t head_stride_ = 0, token_stride_ = 0, out_head_stride_ = 0, out_token_stride_ = 0;
};

}  // namespace tessera::testing
