// The whole path, from text to text, with the embedded model: answers as they were recorded with
// another implementation in float32 (models/tiny-math/README.md).
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/testing/test_scale.h"
#include "engine/engine.h"
#include "engine/offline.h"
#include "engine/testing/outcomes.h"
#include "engine/testing/tiny_math.h"

namespace tessera::testing {
namespace {

TEST(EngineEndToEnd, AnswersAsRecorded) {
  // Three are enough for a preemption.
  const auto count = static_cast<size_t>(std::max(int64_t{3}, Scaled(6)));
  const std::vector<RecordedAnswer> answers = RecordedAnswers(count);
  ASSERT_EQ(answers.size(), count);
  struct Case {
    const char* backend;
    int32_t block_size, max_batch_tokens;
    int64_t kv_tokens;
    size_t count;
  };
  const Case cases[] = {
      {"auto", 16, 2048, 40000, count},
      {"auto", 16, 100, 40000, count},  // chunked prefill
      {"auto", 7, 512, 2048, count},    // two requests fit, hardly: preemption
      {"reference", 16, 2048, 40000, 1},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(std::string(c.backend) + ", blocks of " + std::to_string(c.block_size));
    EngineOptions options = TinyMathOptions();
    options.attention_backend = c.backend;
    options.block_size = c.block_size;
    options.max_batch_tokens = c.max_batch_tokens;
    options.max_running = 64;
    options.kv_cache_bytes = c.kv_tokens * 6 * 2 * 128 * 4;
    auto engine = Engine::Create(options);
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    std::vector<Request> requests;
    for (size_t i = 0; i < c.count; ++i) requests.push_back(RequestFor(**engine, answers[i]));
    const std::vector<Outcome> outcomes = RunAll(engine->get(), requests);
    for (size_t i = 0; i < c.count; ++i) {
      EXPECT_EQ(outcomes[i].error, "");
      EXPECT_EQ(outcomes[i].text, answers[i].completion) << "answer " << i;
    }
    EXPECT_EQ((*engine)->stats().blocks_used, 0);
  }
}

TEST(Generate, GivesTheAnswersInOrder) {
  auto engine = Engine::Create(TinyMathOptions());
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  const std::vector<RecordedAnswer> answers = RecordedAnswers(3);
  std::vector<std::string> prompts;
  for (const RecordedAnswer& answer : answers) prompts.push_back(answer.prompt);
  SamplingParams sampling;
  sampling.temperature = 0;
  sampling.stop = {"Question:"};
  sampling.logprobs = 0;
  const auto completions = Generate(engine->get(), prompts, sampling);
  ASSERT_TRUE(completions.ok()) << completions.error().message;
  ASSERT_EQ(completions->size(), answers.size());
  for (size_t i = 0; i < answers.size(); ++i) {
    const Completion& completion = (*completions)[i];
    EXPECT_EQ(completion.text, answers[i].completion) << i;
    EXPECT_EQ(completion.finish, FinishReason::kStop) << i;
    EXPECT_EQ(completion.logprobs.size(), completion.tokens.size()) << i;
  }
  const auto none = Generate(engine->get(), {}, sampling);
  ASSERT_TRUE(none.ok());
  EXPECT_TRUE(none->empty());
}

TEST(Generate, APromptThatCannotRunIsNamedAndEndsTheOthers) {
  auto engine = Engine::Create(TinyMathOptions());
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  std::string too_long;
  for (int i = 0; i < 3000; ++i) too_long += "apple ";
  const auto completions =
      Generate(engine->get(), {"Question: 1 + 1?", too_long}, SamplingParams());
  ASSERT_FALSE(completions.ok());
  EXPECT_EQ(completions.error().message.rfind("prompt 1: ", 0), 0u) << completions.error().message;
  (*engine)->WaitIdle();
  EXPECT_EQ((*engine)->stats().blocks_used, 0);
}

TEST(EngineEndToEnd, AMissingModelIsAnErrorThatNamesIt) {
  EngineOptions options = TinyMathOptions();
  options.model_directory = "/nonexistent/model";
  const auto engine = Engine::Create(options);
  ASSERT_FALSE(engine.ok());
  EXPECT_NE(engine.error().message.find("/nonexistent/model"), std::string::npos);
}

}  // namespace
}  // namespace tessera::testing
