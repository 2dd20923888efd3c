// What an engine shows of itself, and that its attention backends can be exchanged.
#include "engine/engine_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/testing/tiny_math.h"

namespace tessera::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(BlockOwners, SaysWhoHoldsEachBlock) {
  BlockPool pool(10);
  std::vector<int32_t> taken;
  for (int i = 0; i < 7; ++i) taken.push_back(pool.Allocate());
  ASSERT_THAT(taken, ElementsAre(0, 1, 2, 3, 4, 5, 6));
  Sequence first, second, third;
  first.id = 7;
  second.id = 8;
  third.id = 9;
  first.blocks = {0, 1, 2};
  second.blocks = {0, 1, 3, 4};
  third.blocks = {0};
  pool.AddReference(0);
  pool.AddReference(0);
  pool.AddReference(1);
  for (const int32_t cached : {5, 6}) {
    pool.Retain(cached);
    pool.Release(cached);
  }
  pool.Retain(2);  // held as well: its holder counts
  const Sequence* const sequences[] = {&first, &second, &third};
  EXPECT_THAT(BlockOwners(pool, sequences),
              ElementsAre(BlockRun{1, -3}, BlockRun{1, -2}, BlockRun{1, 7}, BlockRun{2, 8},
                          BlockRun{2, BlockRun::kCached}, BlockRun{3, BlockRun::kFree}));
  EXPECT_THAT(BlockOwners(BlockPool(0), {}), IsEmpty());
  EXPECT_THAT(BlockOwners(BlockPool(50000), {}), ElementsAre(BlockRun{50000, BlockRun::kFree}));
}

TEST(StepHistory, KeepsTheLastSteps) {
  StepHistory history;
  EXPECT_THAT(history.Latest(), IsEmpty());
  for (int64_t i = 1; i <= 3; ++i) history.Add({.number = i});
  EXPECT_EQ(history.Latest().size(), 3u);
  EXPECT_EQ(history.Latest().front().number, 1);
  const int64_t last = 2 * static_cast<int64_t>(StepHistory::kSize) + 5;
  for (int64_t i = 4; i <= last; ++i) history.Add({.number = i});
  const std::vector<StepRecord> latest = history.Latest();
  ASSERT_EQ(latest.size(), StepHistory::kSize);
  for (size_t i = 0; i < latest.size(); ++i) {
    EXPECT_EQ(latest[latest.size() - 1 - i].number, last - static_cast<int64_t>(i));
  }
}

std::unique_ptr<Engine> StartEngine() {
  EngineOptions options = TinyMathOptions();
  options.kv_cache_bytes = 64 << 20;
  auto engine = Engine::Create(options);
  EXPECT_TRUE(engine.ok()) << (engine.ok() ? "" : engine.error().message);
  return std::move(engine).value();
}

EngineView Look(Engine* engine) {
  std::promise<EngineView> promise;
  engine->Inspect([&](const EngineView& view) { promise.set_value(view); });
  return promise.get_future().get();
}

int64_t Blocks(const EngineView& view, const std::function<bool(int64_t owner)>& counts) {
  int64_t blocks = 0;
  for (const BlockRun& run : view.blocks) blocks += counts(run.owner) ? run.count : 0;
  return blocks;
}

TEST(EngineView, ShowsSharedBlocksStepsAndTheirEnd) {
  const auto engine = StartEngine();
  const EngineView idle = Look(engine.get());
  EXPECT_THAT(idle.blocks, ElementsAre(BlockRun{static_cast<int32_t>(idle.stats.blocks_total), 0}));
  EXPECT_THAT(idle.steps, IsEmpty());
  EXPECT_THAT(idle.requests, IsEmpty());
  ASSERT_EQ(idle.attention.size(), 1u);
  EXPECT_THAT(idle.attention[0]->layers, ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_EQ(idle.attention[0]->candidates.size(), BackendEntries().size());

  // The second request finds the first one's prompt in the cache. The engine is looked at from
  // within a callback, that is in the midst of both.
  std::promise<EngineView> promise;
  bool asked = false;
  std::map<uint64_t, int> tokens;
  Request request;
  for (int32_t i = 0; i < 65; ++i) request.prompt.push_back(10 + i);
  request.sampling.temperature = 0;
  request.sampling.max_tokens = 60;
  request.sampling.ignore_eos = true;
  const auto count = [&](const RequestUpdate& update) {
    tokens[update.id] += static_cast<int>(update.tokens.size());
    if (asked || tokens.size() < 2 || update.finish != FinishReason::kNone) return;
    asked = true;
    engine->Inspect([&](const EngineView& view) { promise.set_value(view); });
  };
  ASSERT_TRUE(engine
                  ->Submit(request,
                           [&](const RequestUpdate& update) {
                             const bool first = tokens.empty();
                             count(update);
                             if (!first) return;
                             EXPECT_TRUE(engine->Submit(request, count).ok());
                           })
                  .ok());
  const EngineView busy = promise.get_future().get();
  engine->WaitIdle();
  ASSERT_EQ(busy.requests.size(), 2u);
  EXPECT_EQ(Blocks(busy, [](int64_t owner) { return owner == -2; }), 4);
  for (const RequestView& r : busy.requests) {
    EXPECT_EQ(r.prompt_tokens, 65);
    EXPECT_GE(r.output_tokens, 1);
    EXPECT_EQ(r.computed_tokens, r.prompt_tokens + r.output_tokens - 1);
    EXPECT_EQ(Blocks(busy, [&](int64_t owner) { return owner == static_cast<int64_t>(r.id); }),
              r.blocks - 4);
  }
  EXPECT_EQ(Blocks(busy, [](int64_t owner) { return owner > 0 || owner < -1; }),
            busy.stats.blocks_used);
  EXPECT_EQ(Blocks(busy, [](int64_t) { return true; }), busy.stats.blocks_total);

  const EngineView after = Look(engine.get());
  EXPECT_THAT(after.requests, IsEmpty());
  EXPECT_EQ(after.stats.blocks_used, 0);
  EXPECT_GE(Blocks(after, [](int64_t owner) { return owner == BlockRun::kCached; }), 4);
  ASSERT_EQ(static_cast<int64_t>(after.steps.size()), after.stats.steps);
  EXPECT_EQ(after.steps[0].prefill_rows, 65);
  EXPECT_EQ(after.steps.back().prefill_rows, 0);
  double end = 0;
  for (const StepRecord& step : after.steps) {
    EXPECT_GE(step.start, end - 1e-9);
    end = step.start + step.seconds;
  }
  EXPECT_LE(end, after.seconds);
}

TEST(EngineView, BackendsAreExchangedOrRefused) {
  const auto engine = StartEngine();
  const Status unknown = engine->UseAttentionBackend(0, "nonsense");
  ASSERT_FALSE(unknown.ok());
  EXPECT_THAT(unknown.error().message, HasSubstr("nonsense"));
  EXPECT_THAT(unknown.error().message, HasSubstr("reference"));
  const Status no_kind = engine->UseAttentionBackend(1, "reference");
  ASSERT_FALSE(no_kind.ok());
  EXPECT_THAT(no_kind.error().message, HasSubstr("kind is 1"));
  EXPECT_EQ(Look(engine.get()).attention[0]->backend, engine->attention().candidates[0].name);

  ASSERT_TRUE(engine->UseAttentionBackend(0, "reference").ok());
  EXPECT_EQ(Look(engine.get()).attention[0]->backend, "reference");
  EXPECT_FALSE(Look(engine.get()).attention[0]->automatic);
  ASSERT_TRUE(engine->UseAttentionBackend(0, "prefill=portable,decode=reference").ok());
  EXPECT_THAT(Look(engine.get()).attention[0]->backend, HasSubstr("portable"));
  ASSERT_TRUE(engine->UseAttentionBackend(0, "auto").ok());
  EXPECT_TRUE(Look(engine.get()).attention[0]->automatic);
}

}  // namespace
}  // namespace tessera::testing
