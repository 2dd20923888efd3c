// What the server counts, and how Prometheus reads it. Names are vLLM's if they mean the same.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/process_usage.h"
#include "engine/engine.h"
#include "engine/finish_reason.h"

namespace tessera {

// Numbers by size. Thread-safe, without locks; a reader may see an observation half counted.
class Histogram {
 public:
  // `bounds` ascend: a number counts in the first bucket whose bound is at least as large.
  explicit Histogram(std::span<const double> bounds);

  void Observe(double value);

  uint64_t count() const;
  double sum() const { return sum_.load(std::memory_order_relaxed); }

  // The lines of one histogram; `labels` as "a=\"b\"".
  void Render(std::string_view name, std::string_view labels, std::string* out) const;

 private:
  std::vector<double> bounds_;
  std::vector<std::atomic<uint64_t>> counts_;  // [bounds + 1]: the last one is of larger numbers
  std::atomic<double> sum_{0};
};

struct EndedRequest {
  FinishReason reason = FinishReason::kNone;
  int64_t prompt_tokens = 0;
  int64_t output_tokens = 0;
  double seconds = 0;        // since its arrival
  double queue_seconds = 0;  // until it was in a step for the first time, or ended without that
};

// Of one server. Thread-safe.
class ServerMetrics {
 public:
  ServerMetrics();

  void CountFirstToken(int64_t prompt_tokens, double seconds_since_arrival);
  void CountTokens(int64_t tokens);
  void CountTokenInterval(double seconds);
  void CountEnd(const EndedRequest& request);
  void CountAnswer(int status);  // of an HTTP request

  const Histogram& first_token_seconds() const { return first_token_seconds_; }
  const Histogram& token_interval_seconds() const { return token_interval_seconds_; }

  // The text exposition format, version 0.0.4. `stats` is null while the model is loading.
  std::string Render(const std::string& model, const EngineStats* stats, int64_t num_connections,
                     const ProcessUsage& process) const;

 private:
  static constexpr int kNumReasons = 6;
  static constexpr std::array kStatuses = {200, 204, 400, 401, 404, 405, 408,
                                           413, 415, 429, 431, 500, 503, 504};

  std::atomic<int64_t> prompt_tokens_{0};
  std::atomic<int64_t> generation_tokens_{0};
  std::array<std::atomic<int64_t>, kNumReasons> ended_{};         // by FinishReason
  std::array<std::atomic<int64_t>, kStatuses.size()> answers_{};  // by HTTP status
  Histogram first_token_seconds_;
  Histogram token_interval_seconds_;
  Histogram request_seconds_;
  Histogram queue_seconds_;
  Histogram request_prompt_tokens_;
  Histogram request_generation_tokens_;
};

}  // namespace tessera
