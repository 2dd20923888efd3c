// The whole path, from text to text, with the embedded model: answers as they were recorded with
// another implementation in float32 (models/tiny-math/README.md).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/testing/test_scale.h"
#include "engine/engine.h"
#include "engine/offline.h"
#include "model/tokenizer/tokenizer.h"

namespace tessera {
namespace {

struct Answer {
  std::string prompt;
  std::string completion;
};

std::string ModelDirectory() {
  const char* root = std::getenv("TESSERA_SOURCE_DIR");
  return std::string(root != nullptr ? root : ".") + "/models/tiny-math";
}

std::vector<Answer> RecordedAnswers(size_t count) {
  std::vector<Answer> answers;
  std::ifstream file(ModelDirectory() + "/data/reference/answers.float32.jsonl");
  std::string line;
  while (answers.size() < count && std::getline(file, line)) {
    const auto json = nlohmann::json::parse(line);
    answers.push_back({json["prompt"], json["completion"]});
  }
  return answers;
}

EngineOptions Options() {
  EngineOptions options;
  options.model_directory = ModelDirectory();
  options.dtype = DType::kFloat32;
  options.kv_cache_bytes = int64_t{256} << 20;
  return options;
}

std::vector<std::string> Complete(Engine* engine, const std::vector<Answer>& answers) {
  std::mutex mutex;
  std::vector<std::string> texts(answers.size());
  for (size_t i = 0; i < answers.size(); ++i) {
    Request request;
    request.prompt = engine->tokenizer()->Encode(answers[i].prompt);
    request.sampling.temperature = 0;
    request.sampling.max_tokens = 256;
    request.sampling.stop = {"Question:"};
    const auto id = engine->Submit(std::move(request), [&, i](const RequestUpdate& update) {
      const std::lock_guard lock(mutex);
      texts[i] += update.text;
      EXPECT_EQ(update.error, "");
    });
    EXPECT_TRUE(id.ok()) << id.error().message;
  }
  engine->WaitIdle();
  return texts;
}

TEST(EngineEndToEnd, AnswersAsRecorded) {
  // Three are enough for a preemption.
  const auto count = static_cast<size_t>(std::max(int64_t{3}, testing::Scaled(6)));
  const std::vector<Answer> answers = RecordedAnswers(count);
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
    EngineOptions options = Options();
    options.attention_backend = c.backend;
    options.block_size = c.block_size;
    options.max_batch_tokens = c.max_batch_tokens;
    options.max_running = 64;
    options.kv_cache_bytes = c.kv_tokens * 6 * 2 * 128 * 4;
    auto engine = Engine::Create(options);
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    const std::vector<std::string> texts = Complete(
        engine->get(), {answers.begin(), answers.begin() + static_cast<std::ptrdiff_t>(c.count)});
    for (size_t i = 0; i < c.count; ++i) {
      EXPECT_EQ(texts[i], answers[i].completion) << "answer " << i;
    }
    EXPECT_EQ((*engine)->stats().blocks_used, 0);
  }
}

TEST(Generate, GivesTheAnswersInOrder) {
  auto engine = Engine::Create(Options());
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  const std::vector<Answer> answers = RecordedAnswers(3);
  std::vector<std::string> prompts;
  for (const Answer& answer : answers) prompts.push_back(answer.prompt);
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
  auto engine = Engine::Create(Options());
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
  EngineOptions options = Options();
  options.model_directory = "/nonexistent/model";
  const auto engine = Engine::Create(options);
  ASSERT_FALSE(engine.ok());
  EXPECT_NE(engine.error().message.find("/nonexistent/model"), std::string::npos);
}

}  // namespace
}  // namespace tessera
