#include "attention/planner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <tuple>

#include "attention/kernel/key_range.h"

namespace tessera {
namespace {

struct Step {
  std::vector<int32_t> query_start_loc = {0};
  std::vector<int32_t> seq_lens;
  AttentionBatch batch;

  explicit Step(const std::vector<std::pair<int32_t, int32_t>>& sequences) {
    for (const auto& [query, seq] : sequences) {
      query_start_loc.push_back(query_start_loc.back() + query);
      seq_lens.push_back(seq);
    }
    batch.num_seqs = static_cast<int32_t>(sequences.size());
    batch.num_tokens = query_start_loc.back();
    batch.host.query_start_loc = query_start_loc.data();
    batch.host.seq_lens = seq_lens.data();
  }
};

// Every (sequence, KV head, packed row) has items whose key ranges tile exactly what the row's tile
// sees; split ones are merged.
void ExpectExactCover(const AttentionSpec& spec, const AttentionBatch& batch,
                      const WorkList& list) {
  std::map<std::tuple<int32_t, int32_t, int32_t>, std::vector<kernel::WorkItem>> by_row;
  for (const auto& item : list.items) {
    for (int32_t r = 0; r < item.row_count; ++r) {
      by_row[{item.seq, item.kv_head, item.row_begin + r}].push_back(item);
    }
  }
  size_t rows = 0;
  for (int32_t seq = 0; seq < batch.num_seqs; ++seq) {
    const int32_t context_len = batch.host.seq_lens[seq] - batch.QueryLen(seq);
    for (int32_t head = 0; head < spec.num_kv_heads; ++head) {
      for (int32_t row = 0; row < batch.QueryLen(seq) * spec.group_size(); ++row, ++rows) {
        auto found = by_row.find({seq, head, row});
        ASSERT_NE(found, by_row.end());
        auto& items = found->second;
        std::sort(items.begin(), items.end(),
                  [](const auto& a, const auto& b) { return a.key_begin < b.key_begin; });
        const kernel::KeyRange keys =
            kernel::VisibleKeys(MakeMaskRule(spec, batch, batch.host), seq, row / spec.group_size(),
                                context_len, batch.host.seq_lens[seq]);
        EXPECT_LE(items.front().key_begin, keys.begin);
        EXPECT_GE(items.back().key_end, keys.end);
        for (size_t i = 1; i < items.size(); ++i) {
          EXPECT_EQ(items[i - 1].key_end, items[i].key_begin);
        }
        for (const auto& item : items) {
          EXPECT_EQ(item.partial_row >= 0, items.size() > 1);
          EXPECT_LE(item.partial_row + item.row_count,
                    list.partial_rows + (item.partial_row < 0 ? item.row_count + 1 : 0));
        }
      }
    }
  }
  EXPECT_EQ(by_row.size(), rows);
}

TEST(Planner, CoversEveryRowAndKeyOnce) {
  std::mt19937 random(7);
  for (int i = 0; i < 200; ++i) {
    std::vector<std::pair<int32_t, int32_t>> sequences;
    for (size_t s = random() % 6; s > 0; --s) {
      const int32_t query = static_cast<int32_t>(random() % 3 == 0 ? random() % 200 : random() % 3);
      sequences.emplace_back(query,
                             query + static_cast<int32_t>(random() % (i % 5 == 0 ? 20000 : 500)));
    }
    const Step step(sequences);
    AttentionSpec spec{.num_heads = 6, .num_kv_heads = i % 2 == 0 ? 2 : 1, .head_size = 64};
    spec.causality = i % 3 == 0 ? Causality::kFull : Causality::kCausal;
    spec.window_left = i % 4 == 0 ? 100 : -1;
    spec.batch_invariant = i % 7 == 0;
    WorkList list;
    PlanWork(spec, step.batch, {.workers = 1 + i % 8}, &list);
    ExpectExactCover(spec, step.batch, list);
  }
}

TEST(Planner, SplitsOneLongDecodeOverAllWorkers) {
  const Step step({{1, 65536}});
  WorkList list;
  PlanWork({.num_heads = 8, .num_kv_heads = 1, .head_size = 128}, step.batch, {.workers = 8},
           &list);
  EXPECT_GE(list.items.size(), 8u);
  ASSERT_EQ(list.merges.size(), 1u);
  EXPECT_EQ(list.merges[0].parts, static_cast<int32_t>(list.items.size()));
}

TEST(Planner, NoItemCostsMuchMoreThanAFairShare) {
  const Step step({{1, 30000}, {1, 100}, {1, 100}, {500, 500}});
  const AttentionSpec spec{.num_heads = 8, .num_kv_heads = 8, .head_size = 64};
  WorkList list;
  PlannerOptions options{.workers = 4};
  PlanWork(spec, step.batch, options, &list);
  const auto cost = [&](const kernel::WorkItem& item) {
    return (item.key_end - item.key_begin) * (options.load_cost + item.row_count);
  };
  double total = 0, largest = 0;
  for (const auto& item : list.items) {
    total += cost(item);
    largest = std::max(largest, cost(item));
  }
  EXPECT_LE(largest, 0.6 * total / options.workers);
}

// GPUs: as many equal items as run at a time, or a little less than a multiple of that.
TEST(Planner, WholeWavesLeaveFewWorkersIdle) {
  const AttentionSpec spec{.num_heads = 8, .num_kv_heads = 2, .head_size = 64};
  for (int requests : {1, 3, 7, 16, 40, 50, 120}) {
    const Step step(
        std::vector<std::pair<int32_t, int32_t>>(static_cast<size_t>(requests), {1, 100000}));
    WorkList list;
    PlanWork(spec, step.batch,
             {.workers = 96, .item_cost = 1000, .whole_waves = true, .merge_cost = 10}, &list);
    ExpectExactCover(spec, step.batch, list);
    const double waves = static_cast<double>(list.items.size()) / 96;
    EXPECT_GE(waves / std::ceil(waves), 0.8) << requests << " requests";
  }
}

TEST(Planner, InvariantSplitsDependOnTheRequestAlone) {
  const Step alone({{1, 9000}});
  const Step beside({{1, 9000}, {1, 100000}, {300, 300}});
  AttentionSpec spec{.num_heads = 4, .num_kv_heads = 1, .head_size = 64};
  spec.batch_invariant = true;
  const auto parts = [&](const Step& step, int32_t workers) {
    WorkList list;
    PlanWork(spec, step.batch, {.workers = workers}, &list);
    std::vector<std::pair<int32_t, int32_t>> ranges;
    for (const auto& item : list.items) {
      if (item.seq == 0) ranges.emplace_back(item.key_begin, item.key_end);
    }
    std::sort(ranges.begin(), ranges.end());
    return ranges;
  };
  EXPECT_EQ(parts(alone, 1), parts(beside, 16));
}

// Whatever chunk a token is in, and whatever tile: the parts of its keys are the same.
TEST(Planner, InvariantPartsOfATokenDependOnTheTokenAlone) {
  AttentionSpec spec{.num_heads = 6, .num_kv_heads = 2, .head_size = 64};
  spec.batch_invariant = true;
  for (const int32_t window : {-1, 700, 40}) {
    spec.window_left = window;
    // Of the parts that hold keys that the last token sees.
    const auto parts = [&](int32_t query, int32_t max_rows) {
      const Step step({{query, 2000}});
      WorkList list;
      PlanWork(spec, step.batch,
               {.max_rows = max_rows, .key_step = 32, .invariant_split_keys = 256}, &list);
      ExpectExactCover(spec, step.batch, list);
      std::set<std::pair<int32_t, int32_t>> ranges;
      for (const auto& item : list.items) {
        if (item.row_begin + item.row_count < query * 3) continue;
        ranges.emplace(item.key_begin, item.key_end);
      }
      return ranges;
    };
    EXPECT_EQ(parts(1, 64), parts(1, 3));
    EXPECT_EQ(parts(1, 64), parts(50, 64));
    EXPECT_EQ(parts(1, 64), parts(1500, 64));
  }
}

TEST(Planner, SequencesOfNearly2To31Keys) {
  const Step step({{1, std::numeric_limits<int32_t>::max()}});
  const AttentionSpec spec{.num_heads = 4, .num_kv_heads = 1, .head_size = 64};
  for (int32_t workers : {1, 2, 7, 64}) {
    WorkList list;
    PlanWork(spec, step.batch, {.workers = workers}, &list);
    ExpectExactCover(spec, step.batch, list);
    for (const auto& item : list.items) EXPECT_LT(item.key_begin, item.key_end);
  }
  AttentionSpec window = spec;
  window.window_left = 5000;
  window.batch_invariant = true;
  WorkList list;
  PlanWork(window, step.batch, {}, &list);
  EXPECT_EQ(list.items.size(), 3u);
  ExpectExactCover(window, step.batch, list);
}

TEST(Planner, EmptyBatch) {
  const Step step({});
  WorkList list;
  PlanWork({.num_heads = 1, .num_kv_heads = 1, .head_size = 8}, step.batch, {}, &list);
  EXPECT_TRUE(list.items.empty());
  EXPECT_EQ(list.partial_rows, 0);
}

}  // namespace
}  // namespace tessera
