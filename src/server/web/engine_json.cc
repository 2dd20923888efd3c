#include "server/web/engine_json.h"

#include <cmath>

#include "attention/backend_choice.h"

namespace tessera {
namespace {

// Digits after it would only make the text longer.
double Microseconds(double seconds) { return std::round(seconds * 1e6) / 1e6; }

Json StatsJson(const EngineStats& stats) {
  return {{"steps", stats.steps},
          {"prompt_tokens_computed", stats.prompt_tokens_computed},
          {"prefix_cache_queries", stats.prefix_cache_queries},
          {"prefix_cache_hits", stats.prefix_cache_hits},
          {"tokens_generated", stats.tokens_generated},
          {"preemptions", stats.preemptions},
          {"draft_tokens", stats.draft_tokens},
          {"accepted_tokens", stats.accepted_tokens},
          {"waiting", stats.waiting},
          {"running", stats.running},
          {"blocks_total", stats.blocks_total},
          {"blocks_used", stats.blocks_used},
          {"steps_ahead", stats.steps_ahead},
          {"model_seconds", Microseconds(stats.model_seconds)},
          {"wait_seconds", Microseconds(stats.wait_seconds)},
          {"sample_seconds", Microseconds(stats.sample_seconds)}};
}

Json SumJson(const Histogram& histogram) {
  return {{"count", histogram.count()}, {"seconds", Microseconds(histogram.sum())}};
}

Json CandidatesJson(const std::vector<Candidate>& candidates) {
  Json list = Json::array();
  for (const Candidate& candidate : candidates) {
    const Support& support = candidate.support;
    Json entry = {{"name", candidate.name}, {"usable", support.ok()}};
    if (support.ok()) {
      entry["prefill_ns_per_key"] = support.prefill_ns_per_key;
      entry["decode_ns_per_key"] = support.decode_ns_per_key;
    } else {
      entry["reasons"] = support.reasons;
    }
    list.push_back(std::move(entry));
  }
  return list;
}

Json AttentionJson(const AttentionInUse& kind) {
  return {{"kind", ToString(KindOf(kind.spec))},
          {"spec", ToString(kind.spec)},
          {"layers", kind.layers},
          {"backend", kind.backend},
          {"automatic", kind.automatic},
          {"candidates", CandidatesJson(kind.candidates)}};
}

}  // namespace

Json EngineJson(const EngineView& view, const ServerMetrics& metrics) {
  Json json = {{"seconds", Microseconds(view.seconds)},
               {"block_size", view.block_size},
               {"device", view.stats.device},
               {"stats", StatsJson(view.stats)},
               {"latency",
                {{"first_token", SumJson(metrics.first_token_seconds())},
                 {"between_tokens", SumJson(metrics.token_interval_seconds())}}}};
  Json& blocks = json["blocks"] = Json::array();
  for (const BlockRun& run : view.blocks) {
    blocks.push_back(run.count);
    blocks.push_back(run.owner);
  }
  Json& requests = json["requests"] = Json::array();
  for (const RequestView& request : view.requests) {
    requests.push_back({{"id", request.id},
                        {"prompt_tokens", request.prompt_tokens},
                        {"output_tokens", request.output_tokens},
                        {"computed_tokens", request.computed_tokens},
                        {"blocks", request.blocks}});
  }
  Json& steps = json["steps"] = Json::array();
  for (const StepRecord& step : view.steps) {
    steps.push_back({step.number, Microseconds(step.start), Microseconds(step.seconds),
                     step.decode_rows, step.prefill_rows, step.num_requests, step.num_switches});
  }
  Json& attention = json["attention"] = Json::array();
  for (const auto& kind : view.attention) attention.push_back(AttentionJson(*kind));
  return json;
}

}  // namespace tessera
