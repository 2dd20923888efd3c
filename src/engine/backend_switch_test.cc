// A generation that changes its attention backend every few tokens gives the same tokens as one
// that does not: all backends share one cache layout.
#include <gtest/gtest.h>

#include <mutex>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/testing/tiny_math.h"

namespace tessera::testing {
namespace {

class BackendSwitchTest : public ::testing::TestWithParam<RunAhead> {};

TEST_P(BackendSwitchTest, AnswersAreTheRecordedOnes) {
  constexpr size_t kAnswers = 4;
  const std::vector<RecordedAnswer> answers = RecordedAnswers(kAnswers);
  ASSERT_EQ(answers.size(), kAnswers);
  EngineOptions options = TinyMathOptions();
  options.run_ahead = GetParam();
  auto engine = Engine::Create(options);
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  std::vector<std::string> backends;
  for (const Candidate& candidate : (*engine)->attention().candidates) {
    if (candidate.support.ok()) backends.push_back(candidate.name);
  }
  ASSERT_GE(backends.size(), 2u);

  std::mutex mutex;
  std::vector<std::string> texts(kAnswers);
  std::vector<int> tokens_by_backend(backends.size(), 0);
  int tokens = 0;
  size_t in_use = 0;
  for (size_t i = 0; i < kAnswers; ++i) {
    const Request request = RequestFor(**engine, answers[i]);
    const auto id = (*engine)->Submit(request, [&, i](const RequestUpdate& update) {
      const std::lock_guard lock(mutex);
      texts[i] += update.text;
      ++tokens_by_backend[in_use];
      if (++tokens % 3 != 0) return;
      in_use = (in_use + 1) % backends.size();
      EXPECT_TRUE((*engine)->UseAttentionBackend(0, backends[in_use]).ok());
    });
    ASSERT_TRUE(id.ok()) << id.error().message;
  }
  (*engine)->WaitIdle();
  for (size_t i = 0; i < kAnswers; ++i) {
    EXPECT_EQ(texts[i], answers[i].completion) << "answer " << i;
  }
  for (int count : tokens_by_backend) EXPECT_GT(count, 10);
  if (GetParam() == RunAhead::kOn) {
    EXPECT_GT((*engine)->stats().steps_ahead, 50);
  } else {
    EXPECT_EQ((*engine)->stats().steps_ahead, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(RunAhead, BackendSwitchTest,
                         ::testing::Values(RunAhead::kOff, RunAhead::kOn), [](const auto& test) {
                           return std::string(test.param == RunAhead::kOn ? "On" : "Off");
                         });

}  // namespace
}  // namespace tessera::testing
