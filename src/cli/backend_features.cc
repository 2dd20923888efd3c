#include "cli/backend_features.h"

#include <functional>
#include <memory>
#include <utility>

namespace tessera {
namespace {

AttentionSpec PlainLayer() {
  AttentionSpec spec;
  spec.num_heads = 8;
  spec.num_kv_heads = 2;
  spec.head_size = 128;
  return spec;
}

void SetTypes(AttentionSpec* spec, DType type) {
  spec->query_dtype = type;
  spec->cache_dtype = type;
  spec->output_dtype = type;
}

}  // namespace

std::vector<FeatureProbe> FeatureProbes() {
  std::vector<FeatureProbe> probes;
  const auto add = [&](const char* name, const std::function<void(AttentionSpec*)>& change,
                       int32_t block_size = 16) {
    FeatureProbe probe{name, PlainLayer(), block_size};
    change(&probe.spec);
    probes.push_back(std::move(probe));
  };
  add("bfloat16", [](AttentionSpec*) {});
  add("float16", [](AttentionSpec* s) { SetTypes(s, DType::kFloat16); });
  add("float32", [](AttentionSpec* s) { SetTypes(s, DType::kFloat32); });
  add("fp8 cache (e4m3fn)", [](AttentionSpec* s) {
    s->cache_dtype = DType::kE4M3FN;
    s->kv_scales = ScaleMode::kPerTensor;
  });
  add("fp8 cache (e4m3fnuz)", [](AttentionSpec* s) {
    s->cache_dtype = DType::kE4M3FNUZ;
    s->kv_scales = ScaleMode::kPerTensor;
  });
  add("fp8 cache (e5m2)", [](AttentionSpec* s) {
    s->cache_dtype = DType::kE5M2;
    s->kv_scales = ScaleMode::kPerTensor;
  });
  add("int8 cache", [](AttentionSpec* s) {
    s->cache_dtype = DType::kInt8;
    s->kv_scales = ScaleMode::kPerTensor;
  });
  add("scales per head", [](AttentionSpec* s) {
    s->cache_dtype = DType::kE4M3FN;
    s->kv_scales = ScaleMode::kPerHead;
  });
  add("scales per token and head", [](AttentionSpec* s) {
    s->cache_dtype = DType::kInt8;
    s->kv_scales = ScaleMode::kPerTokenHead;
  });
  add("fp8 output", [](AttentionSpec* s) {
    s->output_dtype = DType::kE4M3FN;
    s->fp8_output_scale = true;
  });
  add("multi-query", [](AttentionSpec* s) { s->num_kv_heads = 1; });
  add("head size 80", [](AttentionSpec* s) { s->head_size = 80; });
  add("head size 256", [](AttentionSpec* s) { s->head_size = 256; });
  add("head size 576, values 512", [](AttentionSpec* s) {
    s->num_kv_heads = 1;
    s->head_size = 576;
    s->head_size_v = 512;
  });
  add(
      "block size 1", [](AttentionSpec*) {}, 1);
  add(
      "block size 544", [](AttentionSpec*) {}, 544);
  add("sliding window", [](AttentionSpec* s) { s->window_left = 4095; });
  add("chunked-local", [](AttentionSpec* s) { s->chunk_size = 8192; });
  add("soft cap", [](AttentionSpec* s) { s->soft_cap = 50.0f; });
  add("alibi", [](AttentionSpec* s) { s->alibi = Alibi::kPlain; });
  add("alibi, square root", [](AttentionSpec* s) { s->alibi = Alibi::kSqrt; });
  add("sinks", [](AttentionSpec* s) { s->sinks = true; });
  add("tree bias", [](AttentionSpec* s) { s->query_query_bias = true; });
  add("bidirectional prefixes", [](AttentionSpec* s) { s->prefix_ranges = true; });
  add("causal by request", [](AttentionSpec* s) { s->causality = Causality::kPerRequest; });
  add("not causal", [](AttentionSpec* s) { s->causality = Causality::kFull; });
  add("shared KV", [](AttentionSpec* s) { s->shares_kv = true; });
  add("encoder", [](AttentionSpec* s) {
    s->type = AttentionType::kEncoder;
    s->causality = Causality::kFull;
  });
  add("encoder-only", [](AttentionSpec* s) {
    s->type = AttentionType::kEncoderOnly;
    s->causality = Causality::kFull;
  });
  add("cross-attention", [](AttentionSpec* s) {
    s->type = AttentionType::kCross;
    s->causality = Causality::kFull;
  });
  add("batch-invariant", [](AttentionSpec* s) { s->batch_invariant = true; });
  return probes;
}

std::vector<BackendReport> ReportBackends(const BackendContext& context,
                                          const std::vector<BackendEntry>& plugins) {
  const std::vector<FeatureProbe> probes = FeatureProbes();
  std::vector<BackendReport> reports;
  std::vector<BackendEntry> entries = BackendEntries();
  entries.insert(entries.end(), plugins.begin(), plugins.end());
  for (const BackendEntry& entry : entries) {
    BackendReport report{entry.name, entry.description, entry.probe(context.device->info()), {}};
    std::unique_ptr<Backend> backend;
    if (report.usable.ok()) {
      auto created = entry.create(context);
      if (created.ok()) {
        backend = std::move(created).value();
      } else {
        report.usable.reasons.push_back(created.error().message);
      }
    }
    for (const FeatureProbe& probe : probes) {
      report.features.push_back(backend != nullptr ? backend->Supports(probe.spec, probe.block_size)
                                                   : report.usable);
    }
    reports.push_back(std::move(report));
  }
  return reports;
}

std::string JoinReasons(const Support& support) {
  std::string text;
  for (const std::string& reason : support.reasons) text += (text.empty() ? "" : "; ") + reason;
  return text;
}

}  // namespace tessera
