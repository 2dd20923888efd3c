// Another device takes over when one is lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "device/cpu/cpu_device.h"
#include "engine/engine_parts.h"
#include "engine/testing/fake_model.h"
#include "engine/testing/outcomes.h"
#include "engine/testing/tiny_math.h"
#include "text/tokenizer/tokenizer.h"

namespace tessera::testing {
namespace {

using ::testing::HasSubstr;

// An engine on the fake model whose device is lost when its first request has had 4 tokens.
class FallbackTest : public ::testing::Test {
 protected:
  void Start(const EngineOptions& options, std::function<Result<EngineParts>()> load_fallback,
             FakeModelOptions model = {}) {
    model.device_lost = &lost_;
    EngineParts parts = MakeFakeParts(model, &counters_);
    parts.load_fallback = std::move(load_fallback);
    auto engine = Engine::Create(options, std::move(parts));
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    engine_ = std::move(engine).value();
  }

  // The first request, and the others as soon as it has begun.
  void Run(const std::vector<Request>& requests) {
    const auto record = outcomes_.Callback(0);
    const auto submit = [&](size_t i, UpdateCallback callback) {
      const auto id = engine_->Submit(requests[i], std::move(callback));
      ASSERT_TRUE(id.ok()) << id.error().message;
    };
    submit(0, [=, this, heard = 0, &requests](const RequestUpdate& update) mutable {
      record(update);
      if (heard == 0) {
        for (size_t i = 1; i < requests.size(); ++i) submit(i, outcomes_.Callback(i));
      }
      heard += static_cast<int>(update.tokens.size());
      if (heard == 4) lost_ = true;
    });
    engine_->WaitIdle();
  }

  std::atomic<bool> lost_{false};
  FakeCounters counters_, fallback_counters_;
  Outcomes outcomes_;
  std::unique_ptr<Engine> engine_;
};

// A device whose streams have failed, but for those that were made before.
class DeviceWithBadStreams final : public Device {
 public:
  explicit DeviceWithBadStreams(std::unique_ptr<Device> device) : device_(std::move(device)) {}
  const DeviceInfo& info() const override { return device_->info(); }
  Result<Buffer> Allocate(int64_t bytes, MemoryKind kind) override {
    return device_->Allocate(bytes, kind);
  }
  Result<std::unique_ptr<Stream>> NewStream() override {
    class BadStream final : public CpuStream {
      Status Synchronize() override { return Internal("a stream of the device has failed"); }
    };
    return std::unique_ptr<Stream>(std::make_unique<BadStream>());
  }
  int64_t free_bytes() const override { return device_->free_bytes(); }

 private:
  const std::unique_ptr<Device> device_;
};

std::vector<int32_t> Count(int32_t length) {
  std::vector<int32_t> prompt(static_cast<size_t>(length));
  for (int32_t i = 0; i < length; ++i) prompt[static_cast<size_t>(i)] = i;
  return prompt;
}

TEST_F(FallbackTest, OneRunsOneIsInItsPromptOneWaits_TheFirstEndsTheOthersAreAnswered) {
  EngineOptions options = SmallOptions();
  options.max_running = 2;
  options.max_batch_tokens = 6;
  bool saw_loading = false;
  Start(options, [&]() -> Result<EngineParts> {
    const EngineStats stats = engine_->stats();
    saw_loading = stats.falling_back && stats.device_fallbacks == 0 && stats.waiting == 2;
    return MakeFakeParts({}, &fallback_counters_);
  });
  std::vector<Request> requests = {GreedyRequest({1, 2, 3}, 20), GreedyRequest(Count(40), 9),
                                   GreedyRequest({7, 8}, 5)};
  requests[1].sampling.stop_token_ids = {FakeGreedy(Count(40), 6).back()};
  requests[2].sampling.prompt_logprobs = 0;
  Run(requests);

  EXPECT_TRUE(saw_loading);
  EXPECT_EQ(outcomes_[0].tokens, FakeGreedy({1, 2, 3}, 4));
  EXPECT_EQ(outcomes_[0].finish, FinishReason::kError);
  EXPECT_THAT(outcomes_[0].error, HasSubstr("the fake device was lost"));
  EXPECT_EQ(outcomes_[1].tokens, FakeGreedy(Count(40), 6));
  EXPECT_EQ(outcomes_[1].finish, FinishReason::kStop);
  EXPECT_EQ(outcomes_[2].tokens, FakeGreedy({7, 8}, 5));
  EXPECT_EQ(outcomes_[2].prompt_logprobs.size(), 2u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(outcomes_[i].finishes, 1);
  const EngineStats stats = engine_->stats();
  EXPECT_EQ(stats.device_error, "");
  EXPECT_THAT(stats.lost_device, HasSubstr("the fake device was lost"));
  EXPECT_FALSE(stats.falling_back);
  EXPECT_EQ(stats.device_fallbacks, 1);
  EXPECT_EQ(stats.waiting + stats.running + stats.blocks_used, 0);
  EXPECT_GT(fallback_counters_.steps, 0);
}

TEST_F(FallbackTest, FallbackCannotBeLoaded_AllRequestsEndWithBothReasons) {
  EngineOptions options = SmallOptions();
  options.max_running = 1;
  Start(options,
        []() -> Result<EngineParts> { return OutOfMemory("There is no room for the weights."); });
  Run({GreedyRequest({1, 2, 3}, 20), GreedyRequest({7, 8}, 5)});
  ASSERT_TRUE(engine_->Submit(GreedyRequest({9}, 5), outcomes_.Callback(2)).ok());
  engine_->WaitIdle();
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(outcomes_[i].finish, FinishReason::kError);
    EXPECT_EQ(outcomes_[i].finishes, 1);
    EXPECT_THAT(outcomes_[i].error, HasSubstr("the fake device was lost"));
  }
  for (size_t i = 1; i < 3; ++i) EXPECT_THAT(outcomes_[i].error, HasSubstr("no room"));
  EXPECT_THAT(engine_->stats().device_error, HasSubstr("no room"));
  EXPECT_EQ(engine_->stats().device_fallbacks, 0);
}

TEST_F(FallbackTest, MemoryForTheFallbackRunsOut_AllRequestsEnd) {
  EngineOptions options = SmallOptions();
  options.max_running = 1;
  Start(options, []() -> Result<EngineParts> { throw std::bad_alloc(); });
  Run({GreedyRequest({1, 2, 3}, 20), GreedyRequest({7, 8}, 5)});
  EXPECT_THAT(outcomes_[1].error, HasSubstr("Memory ran out"));
  EXPECT_THAT(engine_->stats().device_error, HasSubstr("Memory ran out"));
}

TEST_F(FallbackTest, FallbackIsLostToo_ItsRequestsEnd) {
  EngineOptions options = SmallOptions();
  options.max_running = 1;
  Start(options, [&]() -> Result<EngineParts> {
    return MakeFakeParts({.device_lost = &lost_}, &fallback_counters_);
  });
  Run({GreedyRequest({1, 2, 3}, 20), GreedyRequest({7, 8}, 5)});
  EXPECT_EQ(outcomes_[1].finish, FinishReason::kError);
  EXPECT_EQ(outcomes_[1].finishes, 1);
  EXPECT_THAT(engine_->stats().device_error, HasSubstr("the fake device was lost"));
  EXPECT_EQ(engine_->stats().device_fallbacks, 1);
}

TEST_F(FallbackTest, FallbackHoldsShorterRequests_WhatIsTooLongEnds) {
  EngineOptions options = SmallOptions();
  options.max_running = 1;
  Start(options, [&]() -> Result<EngineParts> {
    return MakeFakeParts({.max_model_len = 16}, &fallback_counters_);
  });
  Run({GreedyRequest({1, 2, 3}, 20), GreedyRequest(Count(30), 5), GreedyRequest({7, 8}, 60)});
  EXPECT_EQ(outcomes_[1].finish, FinishReason::kError);
  EXPECT_THAT(outcomes_[1].error, HasSubstr("The prompt has 30 tokens"));
  EXPECT_EQ(outcomes_[2].tokens, FakeGreedy({7, 8}, 14));
  EXPECT_EQ(engine_->max_model_len(), 16);
}

// An explicit size of the cache is kept if it fits, and planned from the free memory if not.
TEST_F(FallbackTest, FallbackHasLessMemoryThanTheCacheThatWasAskedFor_TheCacheIsPlanned) {
  constexpr int64_t kBlockBytes = 4 * kFakeTokenBytes;
  for (const bool fits : {true, false}) {
    SCOPED_TRACE(fits);
    lost_ = false;
    outcomes_[0] = {};
    EngineOptions options = SmallOptions();
    options.max_running = 1;
    options.kv_cache_bytes = 1000 * kBlockBytes;
    Start(options, [&]() -> Result<EngineParts> {
      EngineParts parts = MakeFakeParts({}, &fallback_counters_);
      parts.available_bytes = (fits ? 1001 : 999) * kBlockBytes;
      return parts;
    });
    EXPECT_EQ(engine_->stats().blocks_total, 1000);
    outcomes_[1] = {};
    Run({GreedyRequest({1, 2, 3}, 20), GreedyRequest({7, 8}, 5)});
    EXPECT_EQ(engine_->stats().device_error, "");
    EXPECT_EQ(outcomes_[1].tokens, FakeGreedy({7, 8}, 5));
    // One request of 64 tokens at a time needs 16 blocks.
    EXPECT_EQ(engine_->stats().blocks_total, fits ? 1000 : 16);
  }
}

TEST_F(FallbackTest, CancelledAndLateWhileTheFallbackLoads_TheyEndSo) {
  EngineOptions options = SmallOptions();
  options.max_running = 1;
  Start(options, [&]() -> Result<EngineParts> {
    const auto id = engine_->Submit(GreedyRequest({6}, 5), outcomes_.Callback(3));
    engine_->Cancel(id.value());
    Request expired = GreedyRequest({6}, 5);
    expired.deadline = std::chrono::steady_clock::now();
    EXPECT_TRUE(engine_->Submit(expired, outcomes_.Callback(4)).ok());
    return MakeFakeParts({}, &fallback_counters_);
  });
  Run({GreedyRequest({1, 2, 3}, 20), GreedyRequest({7, 8}, 5)});
  EXPECT_EQ(outcomes_[1].tokens, FakeGreedy({7, 8}, 5));
  EXPECT_EQ(outcomes_[3].finish, FinishReason::kCancelled);
  EXPECT_EQ(outcomes_[4].finish, FinishReason::kTimeout);
}

// A step that samples nothing is waited for by a stream of its own.
TEST_F(FallbackTest, AStreamBesideTheEnginesOwnFails_TheDeviceCountsAsLost) {
  EngineParts parts = MakeFakeParts({.device_lost = &lost_}, &counters_);
  parts.device = std::make_unique<DeviceWithBadStreams>(std::move(parts.device));
  parts.load_fallback = [&]() -> Result<EngineParts> {
    return MakeFakeParts({}, &fallback_counters_);
  };
  auto engine = Engine::Create(SmallOptions(), std::move(parts));
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  const auto outcomes = RunAll(engine->get(), {GreedyRequest(Count(40), 5)});
  EXPECT_THAT((*engine)->stats().lost_device, HasSubstr("a stream of the device has failed"));
  EXPECT_EQ(outcomes[0].tokens, FakeGreedy(Count(40), 5));
}

// From the fake device to the embedded model on the CPU, with its own tokens.
TEST_F(FallbackTest, FallbackLoadsTheModelFromItsDirectory_ItGivesTheRecordedAnswer) {
  EngineOptions options = TinyMathOptions();
  options.device = "fenced";
  options.fallback_device = "cpu";
  options.max_running = 1;
  auto real = LoadEngineParts(options);
  ASSERT_TRUE(real.ok()) << real.error().message;
  EXPECT_THAT(real->notes, ::testing::Contains(HasSubstr("cpu takes over")));
  FakeModelOptions model;
  model.vocab_size = real->model->config().vocab_size;
  model.max_model_len = real->model->config().max_position_embeddings;
  const RecordedAnswer answer = RecordedAnswers(1).at(0);
  Start(options, real->load_fallback, model);
  Request request = GreedyRequest(real->tokenizer->Encode(answer.prompt), 256);
  Run({GreedyRequest({1, 2, 3}, 20), request});
  EXPECT_THAT(outcomes_[1].text, ::testing::StartsWith(answer.completion));
  EXPECT_EQ(engine_->stats().device_fallbacks, 1);
}

TEST(FallbackOptionsTest, RefusesADeviceThatCannotTakeOver) {
  const struct {
    const char *device, *fallback, *reason;
  } cases[] = {{"cpu", "cpu", "fallback_device is cpu, on which the model runs already"},
               {"cpu", "auto", "fallback_device is auto; name the device"},
               {"cpu", "gpu", "The fallback device gpu cannot serve: there is no device 'gpu'"},
               {"cpu", "cuda:977", "The fallback device cuda:977 cannot serve"}};
  for (const auto& c : cases) {
    EngineOptions options = TinyMathOptions();
    options.device = c.device;
    options.fallback_device = c.fallback;
    const auto parts = LoadEngineParts(options);
    ASSERT_FALSE(parts.ok());
    EXPECT_THAT(parts.error().message, HasSubstr(c.reason));
  }
}

TEST(EngineOptionsTest, BadOptionOnABadDevice_TheOptionIsRefused) {
  EngineOptions options = TinyMathOptions();
  options.device = "gpu";
  options.block_size = 0;
  const auto parts = LoadEngineParts(options);
  ASSERT_FALSE(parts.ok());
  EXPECT_THAT(parts.error().message, HasSubstr("block_size is 0, but must be in 1 to 65536."));
  options.block_size = 16;
  options.num_threads = -1;
  EXPECT_THAT(LoadEngineParts(options).error().message, HasSubstr("num_threads is -1"));
}

}  // namespace
}  // namespace tessera::testing
