#include "attention/testing/batch_invariance.h"

#include <memory>

#include "attention/testing/attention_case.h"

namespace tessera::testing {

std::vector<AttentionSpec> InvariantSpecs(int32_t head_size) {
  AttentionSpec plain;
  plain.num_heads = 6;
  plain.num_kv_heads = 2;
  plain.head_size = head_size;
  plain.output_dtype = DType::kFloat32;
  plain.batch_invariant = true;
  std::vector<AttentionSpec> specs(7, plain);
  specs[1].window_left = 100;
  specs[1].sinks = true;
  specs[2].soft_cap = 20.0f;
  specs[2].sinks = true;
  specs[3].chunk_size = 90;
  specs[4].alibi = Alibi::kPlain;
  specs[5].cache_dtype = DType::kE4M3FN;
  specs[5].kv_scales = ScaleMode::kPerTokenHead;
  specs[6].num_heads = 71;  // more heads of a KV head than some tiles have rows
  specs[6].num_kv_heads = 1;
  specs[6].window_left = 250;
  return specs;
}

std::string CheckBatchInvariance(Backend* backend, Device* device, const AttentionSpec& given) {
  AttentionSpec spec = given;
  spec.batch_invariant = true;
  constexpr int32_t kTokens = 70, kKeys = 700;
  const std::vector<Sequence> company = {{33, 400}, {1, 700}, {1, 1}};
  const int64_t row = int64_t{spec.num_heads} * spec.value_size();
  const auto run = [&](int32_t tokens, const std::vector<Sequence>& others, AttentionPlan* plan) {
    std::vector<Sequence> sequences = {{tokens, kKeys, kTokens - tokens}};
    sequences.insert(sequences.end(), others.begin(), others.end());
    AttentionCase problem({.spec = spec, .sequences = sequences});
    std::vector<float> output = problem.Run(backend, {device, plan});
    output.resize(static_cast<size_t>(tokens * row));
    return output;
  };
  const auto recorded =
      backend->NewPlan(spec, {.max_seqs = 3, .max_tokens = 3, .decode_only = true});
  if (!recorded.ok()) return recorded.error().message;
  const std::vector<float> whole = run(kTokens, {}, nullptr);
  struct Way {
    const char* name;
    int32_t tokens;
    std::vector<Sequence> others;
    AttentionPlan* plan;
  };
  for (const Way& way : {Way{"whole, in company", kTokens, company, nullptr},
                         {"the last 30 tokens", 30, {}, nullptr},
                         {"the last token, in company", 1, company, nullptr},
                         {"the last token, recorded", 1, {{1, 900}}, recorded->get()}}) {
    const std::vector<float> output = run(way.tokens, way.others, way.plan);
    if (output != std::vector<float>(whole.end() - way.tokens * row, whole.end())) {
      return std::string(way.name) + ": other bits than whole and alone";
    }
  }
  return "";
}

}  // namespace tessera::testing
