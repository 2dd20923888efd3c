#include "server/metrics.h"

#include <algorithm>
#include <cstdio>

namespace tessera {
namespace {

constexpr double kFirstTokenBounds[] = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5,
                                        0.75,  1,     2.5,  5,    7.5,  10,   20,   40,  80,   160};
constexpr double kIntervalBounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
                                      0.15,  0.2,    0.3,   0.4,  0.5,   0.75, 1,     2.5};
constexpr double kRequestBounds[] = {0.05, 0.1, 0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,
                                     10,   15,  20,  30,  40,  50, 60,  120, 240, 480};
constexpr double kTokenBounds[] = {1,   2,    5,    10,   20,    50,    100,   200,
                                   500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};

std::string Text(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof(buffer), "%.10g", value);
  return buffer;
}

void RenderHeader(std::string_view name, std::string_view help, std::string_view type,
                  std::string* out) {
  out->append("# HELP ").append(name).append(" ").append(help).append("\n");
  out->append("# TYPE ").append(name).append(" ").append(type).append("\n");
}

void RenderValue(std::string_view name, std::string_view labels, double value, std::string* out) {
  out->append(name);
  if (!labels.empty()) out->append("{").append(labels).append("}");
  out->append(" ").append(Text(value)).append("\n");
}

// Label values are quoted: backslash, quote and line break are escaped.
std::string Escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '\n') {
      result += "\\n";
      continue;
    }
    if (c == '\\' || c == '"') result += '\\';
    result += c;
  }
  return result;
}

// Names and meanings as Prometheus' own client libraries have them, which is why no label is there.
void RenderProcess(const ProcessUsage& usage, std::string* out) {
  const auto known = [&](const char* name, const char* help, const char* type, double value) {
    if (value <= 0) return;
    RenderHeader(name, help, type, out);
    RenderValue(name, "", value, out);
  };
  known("process_cpu_seconds_total", "Processor time of all threads.", "counter",
        usage.cpu_seconds);
  known("process_resident_memory_bytes", "Memory, the allocator's reserves included.", "gauge",
        static_cast<double>(usage.resident_bytes));
  known("process_virtual_memory_bytes", "Address space.", "gauge",
        static_cast<double>(usage.virtual_bytes));
  known("process_open_fds", "Open files and connections.", "gauge",
        static_cast<double>(usage.open_files));
  known("process_max_fds", "How many of them there may be.", "gauge",
        static_cast<double>(usage.files_limit));
  known("tessera:heap_bytes", "Memory that was allocated and not freed.", "gauge",
        static_cast<double>(usage.heap_bytes));
}

std::string ReasonLabel(FinishReason reason) {
  return reason == FinishReason::kCancelled ? "abort" : ToString(reason);  // as vLLM has it
}

}  // namespace

Histogram::Histogram(std::span<const double> bounds)
    : bounds_(bounds.begin(), bounds.end()), counts_(bounds.size() + 1) {}

void Histogram::Observe(double value) {
  const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  counts_[static_cast<size_t>(bucket - bounds_.begin())].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

uint64_t Histogram::count() const {
  uint64_t total = 0;
  for (const auto& count : counts_) total += count.load(std::memory_order_relaxed);
  return total;
}

void Histogram::Render(std::string_view name, std::string_view labels, std::string* out) const {
  const std::string prefix(name);
  const std::string bucket = prefix + "_bucket";
  uint64_t total = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    total += counts_[i].load(std::memory_order_relaxed);
    const std::string bound = i < bounds_.size() ? Text(bounds_[i]) : "+Inf";
    RenderValue(bucket, std::string(labels) + ",le=\"" + bound + "\"", static_cast<double>(total),
                out);
  }
  RenderValue(prefix + "_sum", labels, sum_.load(std::memory_order_relaxed), out);
  RenderValue(prefix + "_count", labels, static_cast<double>(total), out);
}

ServerMetrics::ServerMetrics()
    : first_token_seconds_(kFirstTokenBounds),
      token_interval_seconds_(kIntervalBounds),
      request_seconds_(kRequestBounds),
      queue_seconds_(kRequestBounds),
      request_prompt_tokens_(kTokenBounds),
      request_generation_tokens_(kTokenBounds) {}

void ServerMetrics::CountFirstToken(int64_t prompt_tokens, double seconds_since_arrival) {
  prompt_tokens_ += prompt_tokens;
  first_token_seconds_.Observe(seconds_since_arrival);
}

void ServerMetrics::CountTokens(int64_t tokens) { generation_tokens_ += tokens; }

void ServerMetrics::CountTokenInterval(double seconds) { token_interval_seconds_.Observe(seconds); }

void ServerMetrics::CountEnd(const EndedRequest& request) {
  ++ended_.at(static_cast<size_t>(request.reason));
  request_seconds_.Observe(request.seconds);
  queue_seconds_.Observe(request.queue_seconds);
  request_prompt_tokens_.Observe(static_cast<double>(request.prompt_tokens));
  request_generation_tokens_.Observe(static_cast<double>(request.output_tokens));
}

void ServerMetrics::CountAnswer(int status) {
  const auto found = std::find(kStatuses.begin(), kStatuses.end(), status);
  if (found != kStatuses.end()) ++answers_[static_cast<size_t>(found - kStatuses.begin())];
}

std::string ServerMetrics::Render(const std::string& model, const EngineStats* stats,
                                  int64_t num_connections, const ProcessUsage& process) const {
  std::string out;
  const std::string labels = "model_name=\"" + Escaped(model) + "\"";
  const auto single = [&](const char* name, const char* help, const char* type, double value) {
    RenderHeader(name, help, type, &out);
    RenderValue(name, labels, value, &out);
  };
  const auto histogram = [&](const char* name, const char* help, const Histogram& values) {
    RenderHeader(name, help, "histogram", &out);
    values.Render(name, labels, &out);
  };
  if (stats != nullptr) {
    const double used = stats->blocks_total > 0 ? static_cast<double>(stats->blocks_used) /
                                                      static_cast<double>(stats->blocks_total)
                                                : 0;
    RenderHeader("tessera:device_info", "The device that the model runs on; 0: it was lost.",
                 "gauge", &out);
    RenderValue("tessera:device_info", labels + ",device=\"" + Escaped(stats->device) + "\"",
                stats->device_error.empty() && !stats->falling_back ? 1 : 0, &out);
    single("tessera:device_fallbacks_total",
           "Times that the fallback device took over from a lost one.", "counter",
           static_cast<double>(stats->device_fallbacks));
    single("tessera:graph_replays_total", "Steps that the device replayed from a recording.",
           "counter", static_cast<double>(stats->graph_replays));
    single("tessera:num_requests_running", "Requests in the engine's steps.", "gauge",
           stats->running);
    single("tessera:num_requests_waiting", "Requests that wait for their turn.", "gauge",
           stats->waiting);
    single("tessera:kv_cache_usage_perc", "Share of the KV cache in use, 0 to 1.", "gauge", used);
    single("tessera:num_preemptions_total", "Requests that had to give back their KV cache.",
           "counter", static_cast<double>(stats->preemptions));
    single("tessera:spec_decode_num_drafts_total", "Guesses that a step checked.", "counter",
           static_cast<double>(stats->drafts));
    single("tessera:spec_decode_num_draft_tokens_total", "Tokens of these guesses.", "counter",
           static_cast<double>(stats->draft_tokens));
    single("tessera:spec_decode_num_accepted_tokens_total", "How many of these were right.",
           "counter", static_cast<double>(stats->accepted_tokens));
    single("tessera:num_timeouts_total", "Requests that ended at their deadline.", "counter",
           static_cast<double>(stats->timeouts));
    single("tessera:engine_steps_total", "Steps of the engine.", "counter",
           static_cast<double>(stats->steps));
    single("tessera:engine_steps_ahead_total",
           "Steps that were submitted before the step before them was done.", "counter",
           static_cast<double>(stats->steps_ahead));
    single("tessera:engine_wait_seconds_total",
           "Time that the engine waited for its device; none while it steps: the host is too slow.",
           "counter", stats->wait_seconds);
    single("tessera:prompt_tokens_computed_total",
           "Prompt tokens that went through the model, repetitions included.", "counter",
           static_cast<double>(stats->prompt_tokens_computed));
    single("tessera:prefix_cache_queries_total", "Tokens of requests as they started to run.",
           "counter", static_cast<double>(stats->prefix_cache_queries));
    single("tessera:prefix_cache_hits_total", "How many of these were in the prefix cache.",
           "counter", static_cast<double>(stats->prefix_cache_hits));
  }
  single("tessera:prompt_tokens_total", "Prompt tokens of requests that had their first token.",
         "counter", static_cast<double>(prompt_tokens_.load()));
  single("tessera:generation_tokens_total", "Generated tokens.", "counter",
         static_cast<double>(generation_tokens_.load()));
  single("tessera:http_connections", "Open connections.", "gauge",
         static_cast<double>(num_connections));
  RenderHeader("tessera:request_success_total", "Requests by the reason of their end.", "counter",
               &out);
  for (size_t i = 1; i < ended_.size(); ++i) {
    RenderValue("tessera:request_success_total",
                labels + ",finished_reason=\"" + ReasonLabel(static_cast<FinishReason>(i)) + "\"",
                static_cast<double>(ended_[i].load()), &out);
  }
  RenderHeader("tessera:http_requests_total", "Answers by their HTTP status.", "counter", &out);
  for (size_t i = 0; i < kStatuses.size(); ++i) {
    RenderValue("tessera:http_requests_total",
                labels + ",status=\"" + std::to_string(kStatuses[i]) + "\"",
                static_cast<double>(answers_[i].load()), &out);
  }
  histogram("tessera:time_to_first_token_seconds", "From a request's arrival to its first token.",
            first_token_seconds_);
  histogram("tessera:inter_token_latency_seconds", "Between two tokens of a request.",
            token_interval_seconds_);
  histogram("tessera:e2e_request_latency_seconds", "From a request's arrival to its end.",
            request_seconds_);
  histogram("tessera:request_queue_time_seconds",
            "From a request's arrival to its first step, or to its end without one.",
            queue_seconds_);
  histogram("tessera:request_prompt_tokens", "Tokens of a request's prompt.",
            request_prompt_tokens_);
  histogram("tessera:request_generation_tokens", "Tokens that a request generated.",
            request_generation_tokens_);
  RenderProcess(process, &out);
  return out;
}

}  // namespace tessera
