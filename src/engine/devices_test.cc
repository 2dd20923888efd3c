// The whole model on every device of this build that needs no hardware: the answers of the CPU.
#include <gtest/gtest.h>

#include <iostream>
#include <string>
#include <vector>

#include "base/testing/test_scale.h"
#include "engine/engine.h"
#include "engine/testing/outcomes.h"
#include "engine/testing/tiny_math.h"
#include "tessera/device.h"

namespace tessera::testing {
namespace {

EngineOptions BFloat16On(const std::string& device) {
  EngineOptions options = TinyMathOptions();
  options.device = device;
  options.dtype = DType::kBFloat16;
  options.attention_backend = "portable";
  options.kv_cache_bytes = int64_t{16} << 20;
  options.max_batch_tokens = 256;
  options.max_running = 8;
  return options;
}

std::vector<std::string> AnswersOn(const std::string& device, size_t count) {
  auto engine = Engine::Create(BFloat16On(device));
  EXPECT_TRUE(engine.ok()) << engine.error().message;
  if (!engine.ok()) return {};
  std::vector<Request> requests;
  for (const RecordedAnswer& answer : RecordedAnswers(count)) {
    requests.push_back(RequestFor(**engine, answer));
    requests.back().sampling.max_tokens = static_cast<int32_t>(Scaled(256));
  }
  std::vector<std::string> answers;
  for (const Outcome& outcome : RunAll(engine->get(), requests)) {
    EXPECT_EQ(outcome.error, "");
    answers.push_back(outcome.text);
  }
  const EngineStats stats = (*engine)->stats();
  EXPECT_EQ(stats.device_error, "");
  // Emulated streams do their work when somebody waits for it, as late as a GPU might.
  const bool in_the_call = device == "cpu";
  EXPECT_EQ(stats.steps_ahead > stats.steps / 2, !in_the_call) << stats.steps_ahead;
  return answers;
}

// GPUs keep activations in bfloat16, the CPU in float32. The first answers have no near ties.
class EmulatedDevices : public ::testing::TestWithParam<const char*> {};

TEST_P(EmulatedDevices, TwoAnswersAreTheCpus) {
  const auto device = OpenDevice(GetParam());
  if (!device.ok()) {
    // The emulator is linked to this test; machine code takes a compiler for it.
    ASSERT_STRNE(GetParam(), "simt-emulated") << device.error().message;
    std::cout << "  NOT TESTED here: " << device.error().message << "\n";
    return;
  }
  const std::vector<std::string> expected = AnswersOn("cpu", 2);
  EXPECT_EQ(AnswersOn(GetParam(), 2), expected);
}

// Alone, and among others that cut its prompt elsewhere and fill up steps of other sizes: the same
// tokens with the same log probabilities, bit by bit.
TEST_P(EmulatedDevices, BatchInvariantAnswerIsTheSameBitsInCompany) {
  if (!OpenDevice(GetParam()).ok()) return;  // as above
  EngineOptions options = BFloat16On(GetParam());
  options.batch_invariant = true;
  options.max_batch_tokens = 40;
  auto engine = Engine::Create(options);
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  std::vector<Request> requests;
  for (const RecordedAnswer& answer : RecordedAnswers(4)) {
    requests.push_back(RequestFor(**engine, answer));
    std::vector<int32_t>& prompt = requests.back().prompt;
    prompt.erase(prompt.begin(), prompt.end() - 50 - 7 * static_cast<int64_t>(requests.size()));
    requests.back().sampling.max_tokens = 6 + static_cast<int32_t>(requests.size());
    requests.back().sampling.logprobs = 3;
    if (requests.size() % 2 == 1) requests.back().sampling.temperature = 0.8f;
    requests.back().sampling.seed = 7;
  }
  const std::vector<Outcome> company = RunAll(engine->get(), requests);
  EXPECT_GT((*engine)->stats().graph_replays, 0);
  for (const size_t i : {size_t{0}, size_t{3}}) {
    engine = Engine::Create(options);  // without the prefixes that it knows
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    const Outcome alone = RunAll(engine->get(), {requests[i]})[0];
    EXPECT_EQ(company[i].error, "");
    EXPECT_EQ(alone.tokens, company[i].tokens);
    ASSERT_EQ(alone.logprobs.size(), company[i].logprobs.size());
    EXPECT_GT(alone.logprobs.size(), 5u);
    for (size_t t = 0; t < alone.logprobs.size(); ++t) {
      EXPECT_EQ(alone.logprobs[t].logprob, company[i].logprobs[t].logprob) << i << ", token " << t;
      EXPECT_EQ(alone.logprobs[t].top, company[i].logprobs[t].top) << i << ", token " << t;
    }
  }
}

// Requests whose prompts begin with the same few hundred tokens, which the prefix cache holds: in
// recorded steps attention computes them once.
TEST(SimtEmulated, AnswersAfterASharedPrefixAreTheCpus) {
  std::vector<Outcome> expected;
  for (const char* device : {"cpu", "simt-emulated"}) {
    auto engine = Engine::Create(BFloat16On(device));
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    const std::vector<RecordedAnswer> answers = RecordedAnswers(5);
    // The same examples, of a thousand characters and more, before each one's last question.
    const std::string& first = answers.at(0).prompt;
    const size_t end = first.rfind("Question:");
    const size_t begin = first.rfind("Question:", end - 1000);
    const std::string examples = first.substr(begin, end - begin);
    std::vector<Request> requests;
    for (RecordedAnswer answer : answers) {
      answer.prompt = examples + answer.prompt.substr(answer.prompt.rfind("Question:"));
      requests.push_back(RequestFor(**engine, answer));
      requests.back().sampling.max_tokens = 8;
    }
    RunAll(engine->get(), {requests[0]});
    const std::vector<Outcome> outcomes = RunAll(engine->get(), requests);
    for (const Outcome& outcome : outcomes) EXPECT_GE(outcome.cached_tokens, 256);
    if (expected.empty()) {
      expected = outcomes;
      continue;
    }
    EXPECT_GT((*engine)->stats().graph_replays, 0);
    for (size_t i = 0; i < outcomes.size(); ++i) EXPECT_EQ(outcomes[i].tokens, expected[i].tokens);
  }
}

INSTANTIATE_TEST_SUITE_P(All, EmulatedDevices, ::testing::Values("simt-emulated", "rocm-emulated"),
                         [](const auto& test) { return std::string(test.param, test.param + 4); });

}  // namespace
}  // namespace tessera::testing
