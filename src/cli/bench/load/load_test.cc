// The load generator, by itself and against a server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "cli/bench/load/load_client.h"
#include "cli/bench/load/load_plan.h"
#include "cli/bench/load/load_report.h"
#include "server/testing/test_server.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;

TEST(LoadPlanTest, LengthsAndTimesAreAsAsked) {
  LoadOptions options;
  options.num_requests = 4000;
  options.input_tokens = 100;
  options.output_tokens = 20;
  options.length_sigma = 0.7;
  options.rate = 50;
  const auto plan = PlanLoad(options, 10, 500, 100000);
  ASSERT_TRUE(plan.ok());
  double input = 0, output = 0;
  for (const PlannedRequest& request : *plan) {
    input += static_cast<double>(request.prompt.size());
    output += request.output_tokens;
    for (const int32_t token : request.prompt) ASSERT_TRUE(token >= 10 && token < 500);
  }
  EXPECT_NEAR(input / 4000, 100, 5);
  EXPECT_NEAR(output / 4000, 20, 1);
  EXPECT_NEAR(plan->back().start_seconds, 80, 4);
  const auto again = PlanLoad(options, 10, 500, 100000);
  EXPECT_EQ((*again)[7].prompt, (*plan)[7].prompt);

  options.length_sigma = 3;
  const auto bounded = PlanLoad(options, 10, 500, 64);
  ASSERT_TRUE(bounded.ok());
  for (const PlannedRequest& request : *bounded) {
    EXPECT_LE(static_cast<int64_t>(request.prompt.size()) + request.output_tokens, 64);
    EXPECT_GE(request.output_tokens, 1);
  }
}

TEST(LoadPlanTest, RefusesWhatMakesNoSense) {
  for (const double wrong : {0.0, -1.0, std::nan("")}) {
    LoadOptions options;
    options.input_tokens = wrong;
    EXPECT_FALSE(PlanLoad(options, 0, 10, 10).ok());
  }
  EXPECT_FALSE(PlanLoad(LoadOptions(), 10, 10, 100).ok());
}

TEST(LoadReportTest, PercentilesAndGoodput) {
  EXPECT_EQ(Percentile({}, 50), 0);
  EXPECT_EQ(Percentile({3}, 99), 3);
  EXPECT_EQ(Percentile({4, 1, 2, 3}, 50), 2.5);
  EXPECT_EQ(Percentile({1, 2}, 100), 2);
  LoadReport report;
  report.seconds = 2;
  report.first_token_limit = 0.5;
  for (const double first : {0.25, 0.75}) {
    LoadResult result;
    result.status = 200;
    result.complete = true;
    result.prompt_tokens = 10;
    result.output_tokens = 5;
    result.first_token = first;
    result.last_token = first + 0.4;
    result.intervals = {0.1, 0.3};
    report.results.push_back(result);
  }
  report.results.push_back({});
  report.results.back().status = 429;
  const Json json = ReportJson(report);
  EXPECT_EQ(json["complete"], 2);
  EXPECT_EQ(json["failed_by_status"]["429"], 1);
  EXPECT_EQ(json["requests_per_second"], 1.0);
  EXPECT_EQ(json["good_requests_per_second"], 0.5);
  EXPECT_EQ(json["output_tokens_per_second"], 5.0);
  EXPECT_EQ(json["ttft_ms"]["p50"], 500.0);
  EXPECT_NEAR(json["tpot_ms"]["mean"].get<double>(), 100, 1e-6);
  EXPECT_THAT(ReportText(report), HasSubstr("2 of 3 complete"));
}

TEST(LoadClientTest, BothLoopsAgainstAServer) {
  testing::TestServer server;
  auto target = ParseTarget("http://127.0.0.1:" + std::to_string(server.port()) + "/v1");
  ASSERT_TRUE(target.ok());
  ASSERT_TRUE(AskTarget(&*target).ok());
  EXPECT_EQ(target->model, "tiny-math");
  EXPECT_EQ(target->max_model_len, 2048);
  EXPECT_EQ(target->vocab_size, 2048);
  for (const double rate : {0.0, 200.0}) {
    LoadOptions options;
    options.num_requests = 20;
    options.concurrency = 4;
    options.rate = rate;
    options.input_tokens = 12;
    options.output_tokens = 5;
    const auto plan = PlanLoad(options, 0, target->vocab_size, target->max_model_len);
    int64_t done = 0;
    const auto report = RunLoad(*target, options, *plan, [&](int64_t count) { done = count; });
    ASSERT_TRUE(report.ok());
    EXPECT_EQ(done, 20);
    const Json json = ReportJson(*report);
    EXPECT_EQ(json["complete"], 20);
    EXPECT_EQ(json["prompt_tokens"], 20 * 12);
    EXPECT_EQ(json["output_tokens"], 20 * 5);
    EXPECT_GT(json["ttft_ms"]["p50"], 0);
  }
}

TEST(LoadClientTest, NobodyThere) {
  auto target = ParseTarget("127.0.0.1:1");
  ASSERT_TRUE(target.ok());
  const Status status = AskTarget(&*target);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kIo);
  EXPECT_FALSE(ParseTarget("https://example.org").ok());
  EXPECT_FALSE(ParseTarget("http://").ok());
}

}  // namespace
}  // namespace tessera
