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

INSTANTIATE_TEST_SUITE_P(All, EmulatedDevices, ::testing::Values("simt-emulated", "rocm-emulated"),
                         [](const auto& test) { return std::string(test.param, test.param + 4); });

}  // namespace
}  // namespace tessera::testing
