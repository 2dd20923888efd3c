// Sampling on an emulated GPU against the sampler of the host.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "ops/cpu/sampler.h"
#include "ops/gpu/gpu_test_device.h"

namespace tessera {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> RandomLogits(size_t count, unsigned seed, float scale = 2.0f) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float& v : values) v = normal(generator);
  return values;
}

SamplingBatch OneRow(const SampleRow& row) {
  SamplingBatch batch;
  batch.rows = {row};
  return batch;
}

// Logits of some rows, with what is asked of each.
struct Step {
  explicit Step(int64_t size) : vocabulary(size) {}
  SampleRow& Add(const std::vector<float>& row_logits, const SampleRow& row) {
    logits.insert(logits.end(), row_logits.begin(), row_logits.end());
    batch.rows.push_back(row);
    return batch.rows.back();
  }
  int64_t vocabulary;
  std::vector<float> logits;
  SamplingBatch batch;
};

void ExpectLogprob(const SampledLogprob& got, const SampledLogprob& want, size_t row) {
  EXPECT_EQ(got.token, want.token) << "row " << row;
  EXPECT_EQ(got.rank, want.rank) << "row " << row;
  if (std::isinf(want.logprob)) {
    EXPECT_EQ(got.logprob, want.logprob) << "row " << row;
  } else {
    EXPECT_NEAR(got.logprob, want.logprob, 2e-5 * (1 + std::abs(want.logprob))) << "row " << row;
  }
}

// Runs the step on the device, compares each row with the host's sampler, and the logits after with
// those before.
void ExpectAsOnTheHost(GpuTestDevice& device, const Step& step) {
  const auto rows = static_cast<int64_t>(step.batch.rows.size());
  const int64_t stride = step.vocabulary + 3;
  std::vector<float> padded(static_cast<size_t>(rows * stride), kNan);
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(step.logits.begin() + r * step.vocabulary, step.vocabulary,
                padded.begin() + r * stride);
  }
  Buffer logits = device.Upload(padded);
  Buffer ids = device.Upload(std::vector<int32_t>(static_cast<size_t>(rows), -7));
  ASSERT_TRUE(device.ops()
                  .Sample(step.batch,
                          {logits.data(), DType::kFloat32, rows, step.vocabulary, stride},
                          ids.As<int32_t>())
                  .ok());
  auto sampled = device.ops().Sampled();
  ASSERT_TRUE(sampled.ok()) << sampled.error().message;
  ASSERT_EQ(sampled->size(), step.batch.rows.size());
  const auto ids_after = device.Download<int32_t>(ids, rows);
  Sampler sampler;
  for (size_t r = 0; r < sampled->size(); ++r) {
    const std::span<const float> row(step.logits.data() + r * static_cast<size_t>(step.vocabulary),
                                     static_cast<size_t>(step.vocabulary));
    const SampleRow& asked = step.batch.rows[r];
    const Result<SampledToken> want = asked.given_token >= 0
                                          ? Logprobs(row, asked.given_token, asked.logprobs)
                                          : sampler.Sample(row, asked, step.batch);
    const Result<SampledToken>& got = (*sampled)[r];
    ASSERT_EQ(got.ok(), want.ok()) << "row " << r << (got.ok() ? "" : got.error().message)
                                   << (want.ok() ? "" : want.error().message);
    if (!want.ok()) {
      EXPECT_EQ(got.error().message, want.error().message);
      continue;
    }
    EXPECT_EQ(got->token, want->token) << "row " << r;
    EXPECT_EQ(ids_after[r], want->token);
    if (asked.given_token < 0 && asked.logprobs < 0) continue;
    ExpectLogprob(got->own, want->own, r);
    ASSERT_EQ(got->top.size(), want->top.size()) << "row " << r;
    for (size_t i = 0; i < want->top.size(); ++i) ExpectLogprob(got->top[i], want->top[i], r);
  }
  const auto after = device.Download<float>(logits, rows * stride);
  for (size_t i = 0; i < padded.size(); ++i) {
    ASSERT_TRUE(after[i] == padded[i] || (std::isnan(after[i]) && std::isnan(padded[i]))) << i;
  }
}

class GpuSamplerTest : public ::testing::TestWithParam<std::string> {
 protected:
  GpuTestDevice device_{GetParam()};
};

TEST_P(GpuSamplerTest, NoRows) { ExpectAsOnTheHost(device_, Step(5)); }

TEST_P(GpuSamplerTest, Greedy) {
  const SampleRow greedy{.temperature = 0};
  for (const int64_t size : {1, 2, 63, 4096, 4097, 9000}) {
    Step step(size);
    const auto n = static_cast<size_t>(size);
    step.Add(RandomLogits(n, 1), greedy);
    step.Add(std::vector<float>(n, 5.0f), greedy);  // equals: the first
    std::vector<float> last(n, kNan);
    last.back() = -4;
    step.Add(last, greedy);
    std::vector<float> infinite = RandomLogits(n, 2);
    infinite[n / 2] = kInf;
    step.Add(infinite, greedy);
    step.Add(std::vector<float>(n, -kInf), greedy);
    step.Add(std::vector<float>(n, kNan), greedy);
    std::vector<float> first(n, -kInf);
    first[0] = -1e30f;
    step.Add(first, {.temperature = 0, .logprobs = 0});
    ExpectAsOnTheHost(device_, step);
  }
}

TEST_P(GpuSamplerTest, DrawsFromAll) {
  for (const int64_t size : {1, 100, 4096, 13000}) {
    Step step(size);
    for (uint64_t position = 0; position < 24; ++position) {
      step.Add(RandomLogits(static_cast<size_t>(size), static_cast<unsigned>(position)),
               {.temperature = position % 3 == 0 ? 0.3f : 1.5f, .seed = 11, .position = position});
    }
    ExpectAsOnTheHost(device_, step);
  }
}

TEST_P(GpuSamplerTest, DrawsFromTheTruncated) {
  for (const int64_t size : {1, 50, 6000}) {
    Step step(size);
    uint64_t position = 0;
    const auto add = [&](SampleRow row, float scale = 2.0f) {
      for (int i = 0; i < 4; ++i) {
        row.seed = 5;
        row.position = ++position;
        step.Add(RandomLogits(static_cast<size_t>(size), static_cast<unsigned>(position), scale),
                 row);
      }
    };
    add({.top_k = 1});
    add({.top_k = 7});
    add({.top_k = 40, .min_p = 0.02f});
    add({.top_p = 0.0f});
    add({.top_p = 0.5f});
    add({.top_p = 0.9f, .top_k = 20});
    add({.top_p = 0.9f, .min_p = 0.05f});
    add({.min_p = 0.3f});
    add({.temperature = 3.0f, .top_p = 0.95f});       // most tokens
    add({.top_p = 0.99f}, 0.1f);                      // a flat distribution
    add({.temperature = 0.8f, .top_k = 3000}, 0.5f);  // more than fit in shared memory
    add({.top_p = 0.8f, .top_k = 4000}, 0.2f);
    add({.top_p = 0.7f, .min_p = 0.001f}, 0.3f);
    ExpectAsOnTheHost(device_, step);
  }
}

TEST_P(GpuSamplerTest, EqualsOfTheLastStayInTopKAndGoByTokenInTopP) {
  // Few enough for shared memory, and more.
  for (const int64_t size : {40, 5000}) {
    std::vector<float> levels(static_cast<size_t>(size));
    for (size_t i = 0; i < levels.size(); ++i) levels[i] = -0.25f * static_cast<float>(i % 5);
    const auto third = static_cast<int32_t>(size / 3);
    Step step(size);
    for (uint64_t position = 0; position < 12; ++position) {
      step.Add(levels, {.top_k = 5, .seed = 3, .position = position});
      step.Add(levels, {.top_p = 0.37f, .seed = 4, .position = position});
      step.Add(levels, {.top_p = 0.6f, .top_k = third, .seed = 4, .position = position});
    }
    ExpectAsOnTheHost(device_, step);
  }
}

TEST_P(GpuSamplerTest, EditsInTheirOrderAndUndone) {
  const int64_t size = 5000;
  Step step(size);
  // Lists with tokens out of range and twice; parts of them are for different rows.
  step.batch.bias = {{3, 20.0f}, {3, -1.0f}, {-1, 9.0f}, {5000, 9.0f}, {4999, 19.5f}, {7, 30.0f}};
  step.batch.forbidden = {7, 7, 4999, -5, 5000};
  step.batch.history = {{3, 2}, {7, 0}, {4999, 1}, {100, 5}, {-1, 1}, {5000, 1}};
  step.batch.allowed.assign(79, 0);
  for (const size_t token : {3, 64, 100, 4999}) {
    step.batch.allowed[token / 64] |= uint64_t{1} << (token % 64);
  }
  step.batch.allowed_besides = {12, -3, 5000, 4998};
  const ListRange bias = {0, 6}, forbidden = {0, 5}, history = {0, 6};
  unsigned seed = 0;
  for (const float temperature : {0.0f, 0.9f}) {
    const auto add = [&](SampleRow row) {
      row.temperature = temperature;
      row.seed = 9;
      row.position = ++seed;
      step.Add(RandomLogits(static_cast<size_t>(size), seed), row);
    };
    add({.bias = bias});
    add({.bias = bias, .forbidden = forbidden});
    add({.forbidden = {0, 1}});
    add({.repetition_penalty = 1.8f, .history = history, .bias = bias});
    add({.repetition_penalty = 0.5f,
         .presence_penalty = 1.0f,
         .frequency_penalty = -0.5f,
         .logprobs = 5,
         .history = history,
         .bias = bias,
         .forbidden = {2, 1}});
    add({.presence_penalty = 1.0f, .history = {2, 2}});
    add({.allowed = {0, 79}});
    add({.logprobs = 2, .allowed = {0, 1}, .allowed_besides = {0, 4}});
    add({.logprobs = 20, .bias = bias, .allowed = {0, 2}, .allowed_besides = {0, 1}});
    add({.forbidden = forbidden, .allowed = {78, 1}});  // the word of the last tokens, as the first
    add({.top_k = 3, .bias = bias, .allowed = {0, 79}});
    // Nothing is left.
    step.batch.forbidden.insert(step.batch.forbidden.end(), {3});
    add({.forbidden = {5, 1}, .allowed = {0, 1}});
  }
  ExpectAsOnTheHost(device_, step);
}

TEST_P(GpuSamplerTest, LogprobsOfGivenTokensAndAlternatives) {
  for (const int64_t size : {1, 21, 5000, 200000}) {
    const auto n = static_cast<size_t>(size);
    Step step(size);
    const auto last = static_cast<int32_t>(size - 1);
    std::vector<float> logits = RandomLogits(n, 3, 6.0f);
    step.Add(logits, {.given_token = last, .logprobs = 0});
    step.Add(logits, {.given_token = 0, .logprobs = 20});
    step.Add(logits, {.given_token = last + 1, .logprobs = 1});  // out of range
    step.Add(logits, {.temperature = 0, .logprobs = 1000});
    logits[0] = kNan;
    step.Add(logits, {.given_token = 0, .logprobs = 3});
    std::vector<float> equal(n, -1.5f);
    equal[n / 2] = kNan;
    step.Add(equal, {.given_token = last, .logprobs = 25});
    std::vector<float> zeros(n, 0.0f);
    for (size_t i = 0; i < n; i += 2) zeros[i] = -0.0f;
    step.Add(zeros, {.given_token = last, .logprobs = 4});
    std::vector<float> infinite = RandomLogits(n, 4);
    infinite[n / 3] = -kInf;
    step.Add(infinite, {.given_token = static_cast<int32_t>(n / 3), .logprobs = 2});
    infinite[n / 3] = kInf;
    step.Add(infinite, {.given_token = 0, .logprobs = 2});
    ExpectAsOnTheHost(device_, step);
    if (size > 10000) break;
  }
}

TEST_P(GpuSamplerTest, ResolveIdsTakesTokensThatTheHostDoesNotKnow) {
  const Buffer logits = device_.Upload(std::vector<float>{1, 2, 3, 9, 2, 3});
  Buffer tokens = device_.Upload(std::vector<int32_t>{-1, -1, 77});
  const Buffer ids = device_.Upload(std::vector<int32_t>{1, -2, 0, -1, -3, -1});
  SamplingBatch batch = OneRow({.temperature = 0});
  batch.rows.push_back(batch.rows[0]);
  const Tensor tensor = {logits.data(), DType::kFloat32, 2, 3, 3};
  ASSERT_TRUE(device_.ops().Sample(batch, tensor, tokens.As<int32_t>()).ok());
  device_.ops().ResolveIds(ids.As<int32_t>(), 5, tokens.As<int32_t>());
  EXPECT_EQ(device_.Download<int32_t>(ids, 6), (std::vector<int32_t>{1, 0, 0, 2, 77, -1}));
  ASSERT_TRUE(device_.ops().Sampled().ok());
}

INSTANTIATE_TEST_SUITE_P(Policies, GpuSamplerTest, ::testing::ValuesIn(GpuTestDevices()),
                         [](const auto& test) { return test.param; });

TEST(GpuSamplerStepsTest, TwoStepsAreCollectedInTheirOrder) {
  GpuTestDevice device("mma");
  Buffer logits = device.Upload(std::vector<float>{1, 2, 3, 9, 2, 3});
  const SamplingBatch one = OneRow({.temperature = 0});
  for (int round = 0; round < 3; ++round) {
    for (int step = 0; step < 2; ++step) {
      ASSERT_TRUE(
          device.ops()
              .Sample(one, {logits.As<float>() + 3 * step, DType::kFloat32, 1, 3, 3}, nullptr)
              .ok());
    }
    for (const int32_t want : {2, 0}) {
      auto sampled = device.ops().Sampled();
      ASSERT_TRUE(sampled.ok());
      EXPECT_EQ((*sampled)[0]->token, want);
    }
  }
}

TEST(GpuSamplerStepsTest, RecordedLaunchServesAnotherStep) {
  GpuTestDevice device("mma");
  Buffer logits = device.Upload(std::vector<float>{1, 2, 3, 2.5f});
  const Tensor tensor = {logits.data(), DType::kFloat32, 1, 4, 4};
  SamplingBatch batch = OneRow({.temperature = 0});
  GpuOps& ops = device.ops();
  ASSERT_TRUE(ops.PrepareSample(batch, 4).ok());
  ASSERT_TRUE(device.stream().BeginCapture().ok());
  ops.LaunchSample(tensor, nullptr);
  auto graph = device.stream().EndCapture();
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  const auto key = ops.sample_key();
  device.stream().Launch(**graph);
  ops.FetchSamples();
  auto sampled = ops.Sampled();
  ASSERT_TRUE(sampled.ok());
  EXPECT_EQ((*sampled)[0]->token, 2);
  // Another step: the mask leaves two tokens.
  batch.allowed = {0b1001};
  batch.rows[0].allowed = {0, 1};
  ASSERT_TRUE(ops.PrepareSample(batch, 4).ok());
  EXPECT_EQ(ops.sample_key(), key);
  device.stream().Launch(**graph);
  ops.FetchSamples();
  sampled = ops.Sampled();
  ASSERT_TRUE(sampled.ok());
  EXPECT_EQ((*sampled)[0]->token, 3);
}

TEST(GpuSamplerStepsTest, TooManyAlternativesAreTheErrorOfTheirRow) {
  GpuTestDevice device("mma");
  const Buffer logits = device.Upload(RandomLogits(2 * 2000, 1));
  SamplingBatch batch = OneRow({.logprobs = 1025});
  batch.rows.push_back({.logprobs = 3});
  const Tensor tensor = {logits.data(), DType::kFloat32, 2, 2000, 2000};
  ASSERT_TRUE(device.ops().Sample(batch, tensor, nullptr).ok());
  const auto sampled = device.ops().Sampled();
  ASSERT_TRUE(sampled.ok());
  ASSERT_FALSE((*sampled)[0].ok());
  EXPECT_THAT((*sampled)[0].error().message, ::testing::HasSubstr("1025 alternatives"));
  ASSERT_TRUE((*sampled)[1].ok());
  EXPECT_EQ((*sampled)[1]->top.size(), 3u);
}

TEST(GpuSamplerStepsTest, TooLargeAVocabularyIsRefused) {
  GpuTestDevice device("mma");
  EXPECT_FALSE(device.ops().PrepareSample({}, (1 << 20) + 1).ok());
}

}  // namespace
}  // namespace tessera
