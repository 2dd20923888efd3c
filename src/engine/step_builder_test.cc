#include "engine/step_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <utility>

namespace tessera {
namespace {

using ::testing::ElementsAre;

Sequence Running(uint64_t admission, int32_t row, std::vector<int32_t> tokens,
                 std::vector<int32_t> blocks) {
  Sequence sequence;
  sequence.id = sequence.admission = admission;
  sequence.row = row;
  sequence.num_prompt_tokens = sequence.prompt_logits_from = static_cast<int32_t>(tokens.size());
  sequence.tokens = std::move(tokens);
  sequence.blocks = std::move(blocks);
  sequence.running = true;
  return sequence;
}

// The block tables as a worker keeps them.
std::map<std::pair<int32_t, int32_t>, int32_t> Apply(
    const StepBatch& batch, std::map<std::pair<int32_t, int32_t>, int32_t> tables) {
  for (const BlockChange& change : batch.changed_blocks) {
    tables[{change.row, change.column}] = change.block;
  }
  return tables;
}

TEST(StepBuilder, RowsWithoutChunksAreEmptySequences) {
  StepBuilder builder({.block_size = 2, .max_running = 8});
  Sequence a = Running(1, 3, {10, 11, 12}, {7, 9}), b = Running(2, 1, {20}, {4});
  ScheduledStep step;
  step.chunks = {{&a, 0, 3}, {&b, 0, 1}};
  StepBatch batch;
  builder.Build(&step, &batch);
  EXPECT_THAT(batch.token_ids, ElementsAre(20, 10, 11, 12));
  EXPECT_THAT(batch.positions, ElementsAre(0, 0, 1, 2));
  EXPECT_THAT(batch.slot_mapping, ElementsAre(8, 14, 15, 18));
  EXPECT_THAT(batch.query_start_loc, ElementsAre(0, 0, 1, 1, 4));
  EXPECT_THAT(batch.seq_lens, ElementsAre(0, 1, 0, 3));
  EXPECT_THAT(batch.logit_rows, ElementsAre(0, 3));
  ASSERT_EQ(builder.chunks().size(), 2u);
  EXPECT_EQ(builder.chunks()[0]->sequence, &b);
  EXPECT_EQ(batch.changed_blocks.size(), 3u);
}

TEST(StepBuilder, OnlyNewBlocksAreSentOfTheSameAdmission) {
  StepBuilder builder({.block_size = 2, .max_running = 8});
  Sequence a = Running(1, 0, {1, 2, 3}, {5, 6});
  ScheduledStep step;
  step.chunks = {{&a, 0, 3}};
  StepBatch batch;
  builder.Build(&step, &batch);
  auto tables = Apply(batch, {});
  a.tokens.push_back(4);
  step.chunks = {{&a, 3, 4}};
  builder.Build(&step, &batch);
  EXPECT_TRUE(batch.changed_blocks.empty());
  a.tokens.push_back(5);
  a.blocks.push_back(8);
  step.chunks = {{&a, 4, 5}};
  builder.Build(&step, &batch);
  ASSERT_EQ(batch.changed_blocks.size(), 1u);
  tables = Apply(batch, tables);
  // A draft's block is given back, and another one comes in its place.
  a.blocks = {5, 6, 9};
  builder.Build(&step, &batch);
  tables = Apply(batch, tables);
  EXPECT_EQ((tables[{0, 2}]), 9);
  // After a preemption all blocks may be others, in the same row.
  a.admission = 2;
  a.blocks = {1, 6, 3};
  step.chunks = {{&a, 0, 5}};
  builder.Build(&step, &batch);
  tables = Apply(batch, tables);
  EXPECT_EQ((tables[{0, 0}]), 1);
  EXPECT_EQ((tables[{0, 1}]), 6);
  EXPECT_EQ((tables[{0, 2}]), 3);
  builder.Forget();
  step.chunks = {{&a, 4, 5}};
  builder.Build(&step, &batch);
  EXPECT_EQ(batch.changed_blocks.size(), 3u);
}

TEST(StepBuilder, DraftsAreRowsOfTheirSequence) {
  StepBuilder builder({.block_size = 4, .max_running = 8});
  Sequence a = Running(1, 0, {1, 2}, {5, 6});
  a.draft = {30, 31, 32};
  ScheduledStep step;
  step.chunks = {{&a, 1, 2, 3}};
  StepBatch batch;
  builder.Build(&step, &batch);
  EXPECT_THAT(batch.token_ids, ElementsAre(2, 30, 31, 32));
  EXPECT_THAT(batch.query_start_loc, ElementsAre(0, 4));
  EXPECT_THAT(batch.seq_lens, ElementsAre(5));
  EXPECT_THAT(batch.logit_rows, ElementsAre(0, 1, 2, 3));
}

TEST(StepBuilder, DraftsAsSequencesComeAfterAllOthers) {
  StepBuilder builder({.block_size = 4, .max_running = 3, .drafts_as_sequences = true});
  Sequence a = Running(1, 0, {1, 2}, {5, 6}), b = Running(2, 1, {7}, {8});
  a.draft = {30, 31};
  ScheduledStep step;
  step.chunks = {{&a, 1, 2, 2}, {&b, 0, 1}};
  StepBatch batch;
  builder.Build(&step, &batch);
  EXPECT_THAT(batch.token_ids, ElementsAre(2, 7, 30, 31));
  EXPECT_THAT(batch.query_start_loc, ElementsAre(0, 1, 2, 2, 3, 4));
  EXPECT_THAT(batch.seq_lens, ElementsAre(2, 1, 0, 3, 4));
  EXPECT_THAT(batch.logit_rows, ElementsAre(0, 2, 3, 1));
  const auto tables = Apply(batch, {});
  EXPECT_EQ((tables.at({3, 1})), 6);
  EXPECT_EQ((tables.at({4, 0})), 5);
}

TEST(StepBuilder, CommonPrefixEndsAtTheFirstOtherBlock) {
  StepBuilder builder({.block_size = 2, .max_running = 8});
  Sequence a = Running(1, 0, {1, 2, 3, 4, 5, 6}, {5, 6, 7}),
           b = Running(2, 1, {1, 2, 3, 4, 9, 6}, {5, 6, 8}), c = Running(3, 2, {1, 2, 3}, {5, 9});
  ScheduledStep step;
  StepBatch batch;
  step.chunks = {{&a, 5, 6}, {&b, 5, 6}};
  builder.Build(&step, &batch);
  EXPECT_EQ(batch.common_prefix_len, 4);
  step.chunks = {{&a, 5, 6}, {&b, 3, 6}};  // of whole blocks before the first computed token
  builder.Build(&step, &batch);
  EXPECT_EQ(batch.common_prefix_len, 2);
  step.chunks = {{&a, 5, 6}, {&b, 5, 6}, {&c, 2, 3}};
  builder.Build(&step, &batch);
  EXPECT_EQ(batch.common_prefix_len, 2);
  step.chunks = {{&a, 5, 6}, {&c, 0, 3}};
  builder.Build(&step, &batch);
  EXPECT_EQ(batch.common_prefix_len, 0);
  step.chunks = {{&a, 5, 6}};
  builder.Build(&step, &batch);
  EXPECT_EQ(batch.common_prefix_len, 0);
}

TEST(StepBuilder, PromptLogitsComeBeforeTheSampledRow) {
  StepBuilder builder({.block_size = 4, .max_running = 3});
  Sequence a = Running(1, 0, {1, 2, 3, 4}, {5});
  a.prompt_logits_from = 0;
  ScheduledStep step;
  step.chunks = {{&a, 0, 4}};
  StepBatch batch;
  builder.Build(&step, &batch);
  EXPECT_THAT(batch.logit_rows, ElementsAre(0, 1, 2, 3));
  step.chunks = {{&a, 0, 2}};
  builder.Build(&step, &batch);
  EXPECT_THAT(batch.logit_rows, ElementsAre(0, 1));
}

}  // namespace
}  // namespace tessera
