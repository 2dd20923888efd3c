#include "attention/testing/feature_cases.h"

namespace tessera::testing {

namespace {

using Change = void (*)(AttentionSpec&);

// What a layer may ask for beyond plain causal attention.
constexpr Change kFeatures[] = {
    [](AttentionSpec& s) { s.causality = Causality::kFull; },
    [](AttentionSpec& s) { s.causality = Causality::kPerRequest; },
    [](AttentionSpec& s) { s.window_left = 23; },
    [](AttentionSpec& s) {
      s.causality = Causality::kFull;
      s.window_right = 3;
    },
    [](AttentionSpec& s) { s.chunk_size = 24; },
    [](AttentionSpec& s) { s.soft_cap = 2.5f; },
    [](AttentionSpec& s) { s.alibi = Alibi::kPlain; },
    [](AttentionSpec& s) { s.alibi = Alibi::kSqrt; },
    [](AttentionSpec& s) { s.sinks = true; },
    [](AttentionSpec& s) { s.query_query_bias = true; },
    [](AttentionSpec& s) { s.prefix_ranges = true; },
    [](AttentionSpec& s) { s.batch_invariant = true; },
    [](AttentionSpec& s) { s.head_size_v = 32; },
    [](AttentionSpec& s) { s.type = AttentionType::kEncoder; },
    [](AttentionSpec& s) { s.type = AttentionType::kEncoderOnly; },
    [](AttentionSpec& s) {
      s.type = AttentionType::kCross;
      s.causality = Causality::kFull;
    },
    [](AttentionSpec& s) { s.query_dtype = DType::kE4M3FN; },
    [](AttentionSpec& s) { s.cache_dtype = DType::kE4M3FN; },
    [](AttentionSpec& s) {
      s.cache_dtype = DType::kInt8;
      s.kv_scales = ScaleMode::kPerTensor;
    },
    [](AttentionSpec& s) {
      s.cache_dtype = DType::kE4M3FNUZ;
      s.kv_scales = ScaleMode::kPerHead;
    },
    [](AttentionSpec& s) {
      s.cache_dtype = DType::kInt8;
      s.kv_scales = ScaleMode::kPerTokenHead;
    },
    [](AttentionSpec& s) {
      s.output_dtype = DType::kE4M3FN;
      s.fp8_output_scale = true;
    },
};

// Sequences that the spec admits: encoders' are their queries, cross attention's anything. Trees
// have few rows.
std::vector<Sequence> SequencesFor(const AttentionSpec& spec) {
  if (spec.type == AttentionType::kCross) return {{5, 130}, {1, 0}, {0, 17}, {20, 3}, {1, 300}};
  std::vector<Sequence> sequences = {{5, 37}, {1, 177}, {16, 70}, {0, 9}, {23, 23}, {1, 1}};
  if (spec.type != AttentionType::kDecoder) {
    for (Sequence& s : sequences) s.seq_len = s.query_len;
  }
  return sequences;
}

void Append(size_t a, size_t b, std::vector<CaseOptions>* cases) {
  AttentionSpec spec = Spec(6, 2, 64);
  spec.output_dtype = DType::kFloat32;
  kFeatures[a](spec);
  kFeatures[b](spec);
  if (!Validate(spec).ok()) return;  // they exclude each other
  cases->push_back({.spec = spec,
                    .sequences = SequencesFor(spec),
                    .block_size = b % 2 == 0 ? 16 : 5,
                    .query_padding = static_cast<int64_t>(a % 2)});
}

}  // namespace

AttentionSpec Spec(int32_t heads, int32_t kv_heads, int32_t head_size) {
  return {.num_heads = heads, .num_kv_heads = kv_heads, .head_size = head_size};
}

std::vector<CaseOptions> FeatureCases() {
  std::vector<CaseOptions> cases;
  for (size_t a = 0; a < std::size(kFeatures); ++a) Append(a, a, &cases);
  return cases;
}

std::vector<CaseOptions> FeaturePairCases() {
  std::vector<CaseOptions> cases;
  for (size_t a = 0; a < std::size(kFeatures); ++a) {
    for (size_t b = a; b < std::size(kFeatures); ++b) Append(a, b, &cases);
  }
  return cases;
}

}  // namespace tessera::testing
