#include "server/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace tessera {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(HistogramTest, BucketsAreCumulative) {
  const double bounds[] = {1, 2};
  Histogram histogram(bounds);
  for (const double value : {0.5, 1.0, 1.5, 3.0, std::numeric_limits<double>::infinity()}) {
    histogram.Observe(value);
  }
  std::string text;
  histogram.Render("h", "a=\"b\"", &text);
  EXPECT_EQ(text,
            "h_bucket{a=\"b\",le=\"1\"} 2\nh_bucket{a=\"b\",le=\"2\"} 3\n"
            "h_bucket{a=\"b\",le=\"+Inf\"} 5\nh_sum{a=\"b\"} inf\nh_count{a=\"b\"} 5\n");
}

TEST(ServerMetricsTest, CountsRequestsByTheirEnd) {
  ServerMetrics metrics;
  metrics.CountFirstToken(10, 0.02);
  metrics.CountTokens(1);
  metrics.CountTokenInterval(0.003);
  metrics.CountTokens(1);
  metrics.CountEnd({.reason = FinishReason::kLength,
                    .prompt_tokens = 10,
                    .output_tokens = 2,
                    .seconds = 0.5,
                    .queue_seconds = 0.2});
  metrics.CountEnd({.reason = FinishReason::kCancelled, .seconds = 3, .queue_seconds = 3});
  metrics.CountAnswer(200);
  metrics.CountAnswer(999);  // none that this server sends
  EngineStats stats;
  stats.running = 3;
  stats.blocks_total = 8;
  stats.blocks_used = 2;
  stats.prefix_cache_hits = 48;
  stats.steps_ahead = 7;
  stats.wait_seconds = 1.5;
  const std::string text = metrics.Render("a\"b\\c\n", &stats, 4, {.resident_bytes = 4096});
  const std::string labels = "{model_name=\"a\\\"b\\\\c\\n\"";
  for (const std::string& line :
       {"\ntessera:num_requests_running" + labels + "} 3\n",
        "\ntessera:kv_cache_usage_perc" + labels + "} 0.25\n",
        "\ntessera:prefix_cache_hits_total" + labels + "} 48\n",
        "\ntessera:engine_steps_ahead_total" + labels + "} 7\n",
        "\ntessera:engine_wait_seconds_total" + labels + "} 1.5\n",
        "\ntessera:prompt_tokens_total" + labels + "} 10\n",
        "\ntessera:generation_tokens_total" + labels + "} 2\n",
        "\ntessera:request_success_total" + labels + ",finished_reason=\"length\"} 1\n",
        "\ntessera:request_success_total" + labels + ",finished_reason=\"abort\"} 1\n",
        "\ntessera:request_queue_time_seconds_bucket" + labels + ",le=\"0.3\"} 1\n",
        "\ntessera:request_queue_time_seconds_sum" + labels + "} 3.2\n",
        "\ntessera:http_requests_total" + labels + ",status=\"200\"} 1\n",
        "\ntessera:time_to_first_token_seconds_bucket" + labels + ",le=\"0.02\"} 1\n",
        "\ntessera:http_connections" + labels + "} 4\n",
        std::string("\nprocess_resident_memory_bytes 4096\n")}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(metrics.Render("m", nullptr, 0, {}), Not(HasSubstr("num_requests_running")));
  EXPECT_THAT(text, Not(HasSubstr("process_open_fds"))) << "nobody knows it";
}

}  // namespace
}  // namespace tessera
