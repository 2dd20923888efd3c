#include "ops/cpu/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <span>
#include <utility>
#include <vector>

namespace tessera {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> Random(size_t count, float scale = 2.0f) {
  std::mt19937 generator(7);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float& v : values) v = normal(generator);
  return values;
}

// One row's circumstances as lists of its own.
struct Circumstances {
  std::span<const int32_t> prompt = {};
  std::span<const int32_t> output = {};
  std::span<const std::pair<int32_t, float>> logit_bias = {};
  std::span<const int32_t> forbidden = {};
  std::span<const uint64_t> allowed = {};
  std::span<const int32_t> allowed_besides = {};
  uint64_t position = 0;
};

template <typename T>
ListRange Append(std::span<const T> values, std::vector<T>* list) {
  const ListRange range{static_cast<int32_t>(list->size()), static_cast<int32_t>(values.size())};
  list->insert(list->end(), values.begin(), values.end());
  return range;
}

// Among the lists of another row, which must not matter.
Result<SampledToken> SampleWith(Sampler& sampler, const std::vector<float>& logits, SampleRow row,
                                const Circumstances& context) {
  SamplingBatch batch;
  batch.history = {{0, 7}};
  batch.bias = {{0, 1000.0f}};
  batch.forbidden = {0};
  batch.allowed = {0};
  batch.allowed_besides = {0};
  std::map<int32_t, int32_t> counts;
  for (const int32_t token : context.prompt) counts[token] += 0;
  for (const int32_t token : context.output) ++counts[token];
  std::vector<HistoryToken> history;
  for (const auto& [token, count] : counts) history.push_back({token, count});
  row.history = Append(std::span<const HistoryToken>(history), &batch.history);
  row.bias = Append(context.logit_bias, &batch.bias);
  row.forbidden = Append(context.forbidden, &batch.forbidden);
  row.allowed = Append(context.allowed, &batch.allowed);
  row.allowed_besides = Append(context.allowed_besides, &batch.allowed_besides);
  row.position = context.position;
  return sampler.Sample(logits, row, batch);
}

int32_t Choose(const std::vector<float>& logits, const SampleRow& params,
               const Circumstances& context = {}) {
  Sampler sampler;
  auto result = SampleWith(sampler, logits, params, context);
  EXPECT_TRUE(result.ok()) << result.error().message;
  return result.ok() ? result->token : -1;
}

TEST(SamplerTest, Greedy) {
  const SampleRow greedy{.temperature = 0};
  EXPECT_EQ(Choose({3.0f}, greedy), 0);
  EXPECT_EQ(Choose({1, 5, 5, 2}, greedy), 1);
  EXPECT_EQ(Choose({kNan, -kInf, -4, kNan}, greedy), 2);
  for (size_t size : {15, 16, 17, 33, 100, 2048, 128256}) {
    std::vector<float> logits = Random(size);
    EXPECT_EQ(Choose(logits, greedy),
              std::max_element(logits.begin(), logits.end()) - logits.begin());
    logits.back() = 1e6f;
    EXPECT_EQ(Choose(logits, greedy), static_cast<int32_t>(size) - 1);
    logits.front() = 1e6f;
    EXPECT_EQ(Choose(logits, greedy), 0);
  }
}

// Whatever else is asked for, only tokens of the mask are chosen, and of those the ones that would
// be chosen if there were no others.
TEST(SamplerTest, OnlyTokensOfTheMask) {
  struct Case {
    size_t size;                   // of the row
    std::vector<int32_t> allowed;  // in the mask
    size_t words;                  // of it
    std::vector<int32_t> besides;
    std::vector<int32_t> forbidden;
  };
  const Case cases[] = {
      {1, {0}, 1, {}, {}},
      {64, {63}, 1, {}, {}},
      {65, {64}, 2, {}, {}},
      {200, {0, 63, 64, 127, 128, 199}, 4, {}, {}},
      {200, {5, 70}, 2, {150, 3}, {}},        // the mask ends before the row; 150 lies beyond
      {100, {99, 127}, 2, {500, -1}, {}},     // 127, 500 and -1 lie outside of the row
      {300, {1, 2, 3, 250}, 5, {7}, {2, 7}},  // forbidden is stronger than either
      {128256, {17, 4096, 128255}, 2004, {9}, {}},
      {70, {}, 2, {69}, {}},  // nothing but the end
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.size);
    std::vector<uint64_t> mask(c.words);
    for (const int32_t t : c.allowed) mask[static_cast<size_t>(t) / 64] |= uint64_t{1} << (t % 64);
    std::vector<bool> may(c.size);
    for (const auto* tokens : {&c.allowed, &c.besides}) {
      for (const int32_t t : *tokens) {
        if (t >= 0 && static_cast<size_t>(t) < c.size) may[static_cast<size_t>(t)] = true;
      }
    }
    for (const int32_t t : c.forbidden) may[static_cast<size_t>(t)] = false;
    const std::vector<float> logits = Random(c.size, 4.0f);
    std::vector<float> others_away = logits;
    for (size_t t = 0; t < c.size; ++t) {
      if (!may[t]) others_away[t] = -kInf;
    }
    // What is not allowed cannot be bought, nor can what is allowed hide behind penalties.
    const int32_t history[] = {0, 1, static_cast<int32_t>(c.size) - 1};
    const std::pair<int32_t, float> bias[] = {{static_cast<int32_t>(c.size) / 2, 100.0f},
                                              {0, -3.0f}};
    for (const SampleRow& params :
         {SampleRow{.temperature = 0}, SampleRow{.temperature = 1.5f}, SampleRow{.top_k = 2},
          SampleRow{.top_p = 0.3f}, SampleRow{.min_p = 0.2f},
          SampleRow{.repetition_penalty = 1.7f, .presence_penalty = 1, .logprobs = 2}}) {
      for (uint64_t position = 0; position < 20; ++position) {
        Circumstances context{
            .prompt = history, .output = history, .logit_bias = bias, .position = position};
        const int32_t expected = Choose(others_away, params, context);
        context.allowed = mask;
        context.allowed_besides = c.besides;
        context.forbidden = c.forbidden;
        const int32_t token = Choose(logits, params, context);
        EXPECT_EQ(token, expected);
        ASSERT_GE(token, 0);
        EXPECT_TRUE(may[static_cast<size_t>(token)]) << token;
      }
    }
  }
  // A mask of nothing is no lack of a mask.
  Sampler sampler;
  const uint64_t nothing[] = {0};
  EXPECT_FALSE(SampleWith(sampler, std::vector<float>{1, 2}, {}, {.allowed = nothing}).ok());
  // Log probabilities are the model's own: of all tokens.
  const uint64_t second[] = {2};
  const auto sampled =
      SampleWith(sampler, std::vector<float>{5, 1}, {.logprobs = 1}, {.allowed = second});
  ASSERT_TRUE(sampled.ok());
  EXPECT_EQ(sampled->token, 1);
  EXPECT_EQ(sampled->own.rank, 2);
  EXPECT_EQ(sampled->top[0].token, 0);
}

TEST(SamplerTest, RefusesRowsWithoutAToken) {
  Sampler sampler;
  for (const std::vector<float>& logits :
       {std::vector<float>{}, {kNan, kNan}, {-kInf, -kInf}, {kNan, -kInf}, {0, kInf}}) {
    for (float temperature : {0.0f, 1.0f}) {
      EXPECT_FALSE(SampleWith(sampler, logits, {.temperature = temperature}, {}).ok());
    }
  }
  const int32_t all[] = {0, 1};
  EXPECT_FALSE(SampleWith(sampler, std::vector<float>{1, 2}, {}, {.forbidden = all}).ok());
}

TEST(SamplerTest, ExtremesAreGreedy) {
  const std::vector<float> logits = Random(5000);
  const int32_t best = Choose(logits, {.temperature = 0});
  for (uint64_t seed = 0; seed < 50; ++seed) {
    EXPECT_EQ(Choose(logits, {.temperature = 1e-6f, .seed = seed}), best);
    EXPECT_EQ(Choose(logits, {.temperature = 1e-4f, .seed = seed}), best);
    EXPECT_EQ(Choose(logits, {.top_p = 1e-9f, .seed = seed}), best);
    EXPECT_EQ(Choose(logits, {.top_k = 1, .seed = seed}), best);
    EXPECT_EQ(Choose(logits, {.min_p = 1.0f, .seed = seed}), best);
    EXPECT_EQ(Choose({-7.0f}, {.top_p = 0.5f, .top_k = 3, .min_p = 0.1f, .seed = seed}), 0);
    EXPECT_EQ(Choose({-kInf, 4, kNan, -kInf}, {.temperature = 5, .seed = seed}), 1);
  }
}

// The probabilities that the definition gives, in float64 and by sorting everything.
std::vector<double> Expected(const std::vector<float>& logits, const SampleRow& params) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p(logits.size());
  for (size_t i = 0; i < p.size(); ++i) {
    p[i] = std::exp((double{logits[i]} - largest) / double{params.temperature});
    if (p[i] < double{params.min_p}) p[i] = 0;
  }
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] > p[b]; });
  if (params.top_k > 0 && static_cast<size_t>(params.top_k) < p.size()) {
    const double least = p[order[static_cast<size_t>(params.top_k - 1)]];
    for (double& v : p) v = v < least ? 0 : v;
  }
  const double mass = std::accumulate(p.begin(), p.end(), 0.0);
  double before = 0;
  for (size_t i : order) {
    const double own = p[i];
    if (before >= double{params.top_p} * mass) p[i] = 0;
    before += own;
  }
  const double kept = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& v : p) v /= kept;
  return p;
}

TEST(SamplerTest, DrawsFollowTheDistribution) {
  constexpr int kDraws = 40000;
  const SampleRow cases[] = {{},
                             {.temperature = 0.5f},
                             {.temperature = 3.0f},
                             {.top_p = 0.8f},
                             {.top_k = 5},
                             {.min_p = 0.1f},
                             {.temperature = 1.5f, .top_p = 0.9f, .top_k = 12},
                             {.top_p = 0.7f, .min_p = 0.05f},
                             {.top_p = 0.95f, .top_k = 1000}};
  std::vector<float> logits = Random(40);
  logits[3] = logits[9];  // a tie
  Sampler sampler;
  for (SampleRow params : cases) {
    const std::vector<double> p = Expected(logits, params);
    std::vector<int> seen(p.size());
    params.seed = 11;
    for (int i = 0; i < kDraws; ++i) {
      auto result = SampleWith(sampler, logits, params, {.position = static_cast<uint64_t>(i)});
      ASSERT_TRUE(result.ok());
      ++seen[static_cast<size_t>(result->token)];
    }
    double chi_square = 0;
    int cells = 0;
    for (size_t i = 0; i < p.size(); ++i) {
      if (p[i] == 0) {
        EXPECT_EQ(seen[i], 0) << i;
        continue;
      }
      const double want = p[i] * kDraws;
      chi_square += (seen[i] - want) * (seen[i] - want) / want;
      ++cells;
    }
    // Mean cells - 1, variance twice that: five standard deviations.
    EXPECT_LT(chi_square, cells - 1 + 5 * std::sqrt(2.0 * cells));
  }
}

TEST(SamplerTest, TruncationOfALargeVocabulary) {
  const std::vector<float> logits = Random(128256);
  Sampler sampler;
  for (const SampleRow& params :
       {SampleRow{.top_p = 0.9f}, {.top_k = 3000}, {.temperature = 50.0f, .top_p = 0.999f}}) {
    const std::vector<double> p = Expected(logits, params);
    for (uint64_t position = 0; position < 200; ++position) {
      auto result = SampleWith(sampler, logits, params, {.position = position});
      ASSERT_TRUE(result.ok());
      EXPECT_GT(p[static_cast<size_t>(result->token)], 0);
    }
  }
}

TEST(SamplerTest, DrawsDependOnSeedAndPositionAlone) {
  const std::vector<float> logits = Random(1000);
  Sampler used;
  for (uint64_t position = 0; position < 20; ++position) {
    const SampleRow params{.temperature = 2, .seed = 5};
    const Circumstances context{.position = position};
    auto again = SampleWith(used, logits, params, context);
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(Choose(logits, params, context), again->token);
  }
  EXPECT_NE(UniformDraw(1, 2), UniformDraw(2, 1));
}

TEST(SamplerTest, BiasForbiddenAndPenalties) {
  const std::vector<float> logits = {2.0f, 1.0f, -1.0f, 0.5f};
  const SampleRow greedy{.temperature = 0};
  const std::pair<int32_t, float> bias[] = {{3, 2.0f}, {99, 1.0f}, {-1, 1.0f}};
  EXPECT_EQ(Choose(logits, greedy, {.logit_bias = bias}), 3);
  const int32_t forbidden[] = {0, 3, 99};
  EXPECT_EQ(Choose(logits, greedy, {.logit_bias = bias, .forbidden = forbidden}), 1);

  const int32_t zero[] = {0, 0, 0}, two[] = {2, -5, 99};
  const auto with = [&](SampleRow params, std::span<const int32_t> prompt,
                        std::span<const int32_t> output) {
    params.temperature = 0;
    return Choose(logits, params, {.prompt = prompt, .output = output});
  };
  EXPECT_EQ(with({.repetition_penalty = 2.5f}, zero, two), 1);  // 2 -> 0.8, once
  EXPECT_EQ(with({.repetition_penalty = 1.9f}, zero, zero), 0);
  EXPECT_EQ(with({.presence_penalty = 0.9f}, {}, zero), 0);
  EXPECT_EQ(with({.presence_penalty = 1.1f}, {}, zero), 1);
  EXPECT_EQ(with({.presence_penalty = 1.1f}, zero, {}), 0);   // the prompt does not count
  EXPECT_EQ(with({.frequency_penalty = 0.4f}, {}, zero), 1);  // three times
  EXPECT_EQ(with({.frequency_penalty = 0.3f}, {}, zero), 0);
  // Negative logits are multiplied: -1 -> -4, after a forbidden rest only.
  const std::vector<float> negative = {-1.0f, -3.0f};
  const int32_t first[] = {0};
  EXPECT_EQ(Choose(negative, {.temperature = 0, .repetition_penalty = 4}, {.prompt = first}), 1);
}

TEST(SamplerTest, ReportsLogprobsOfTheModelsOwnDistribution) {
  std::vector<float> logits = Random(3000);
  logits[17] = kNan;
  logits[18] = -kInf;
  logits[40] = logits[41] = 30.0f;
  double sum = 0;
  for (float v : logits) sum += std::isnan(v) ? 0 : std::exp(double{v} - 30);
  const int32_t forbidden[] = {40};
  Sampler sampler;
  auto result =
      SampleWith(sampler, logits, {.temperature = 0, .logprobs = 3}, {.forbidden = forbidden});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->token, 41);
  EXPECT_EQ(result->own.rank, 1);
  EXPECT_NEAR(result->own.logprob, -std::log(sum), 1e-6);
  ASSERT_EQ(result->top.size(), 3u);
  EXPECT_EQ(result->top[0].token, 40);
  EXPECT_EQ(result->top[1].token, 41);
  EXPECT_EQ(result->top[2].rank, 3);
  EXPECT_NEAR(result->top[2].logprob,
              double{logits[static_cast<size_t>(result->top[2].token)]} - 30 - std::log(sum), 1e-5);

  auto nan = Logprobs(logits, 17, 0);
  ASSERT_TRUE(nan.ok());
  EXPECT_EQ(nan->own.logprob, -kInf);
  EXPECT_TRUE(nan->top.empty());
  EXPECT_FALSE(Logprobs(logits, 3000, 0).ok());
  auto all = Logprobs(std::vector<float>{1, 3, 2}, 0, 99);
  ASSERT_TRUE(all.ok());
  ASSERT_EQ(all->top.size(), 3u);
  EXPECT_EQ(all->top[2].token, 0);
}

}  // namespace
}  // namespace tessera
