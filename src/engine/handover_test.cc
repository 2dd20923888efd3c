// A generation that changes its attention backend every few tokens gives the same tokens as one
// that does not: all backends share one cache layout.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "model/tokenizer/tokenizer.h"

namespace tessera {
namespace {

TEST(HandOver, AnswersStayTheSame) {
  const char* root = std::getenv("TESSERA_SOURCE_DIR");
  const std::string model = std::string(root != nullptr ? root : ".") + "/models/tiny-math";
  constexpr size_t kAnswers = 4;
  std::vector<nlohmann::json> answers;
  std::ifstream file(model + "/data/reference/answers.float32.jsonl");
  std::string line;
  while (answers.size() < kAnswers && std::getline(file, line)) {
    answers.push_back(nlohmann::json::parse(line));
  }
  ASSERT_EQ(answers.size(), kAnswers);

  EngineOptions options;
  options.model_directory = model;
  options.dtype = DType::kFloat32;
  options.kv_cache_bytes = int64_t{256} << 20;
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
    Request request;
    request.prompt = (*engine)->tokenizer()->Encode(answers[i]["prompt"].get<std::string>());
    request.sampling.temperature = 0;
    request.sampling.max_tokens = 256;
    request.sampling.stop = {"Question:"};
    const auto id = (*engine)->Submit(std::move(request), [&, i](const RequestUpdate& update) {
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
    EXPECT_EQ(texts[i], answers[i]["completion"].get<std::string>()) << "answer " << i;
  }
  for (int count : tokens_by_backend) EXPECT_GT(count, 10);
}

}  // namespace
}  // namespace tessera
