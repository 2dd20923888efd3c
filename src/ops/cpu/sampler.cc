#include "ops/cpu/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "ops/cpu/vector_ops.h"

namespace tessera {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// Weights whose sum is kept, so that a draw need not add up all that lie before it.
constexpr int64_t kBlock = 1024;

int64_t Size(std::span<const float> values) { return static_cast<int64_t>(values.size()); }

// The largest logit, or why there is no token to choose.
Result<float> LargestLogit(std::span<const float> logits) {
  const float largest = MaxValue(logits.data(), Size(logits));
  if (largest == kInfinity) {
    return Internal("The model's logits are infinite; try --dtype float32.");
  }
  if (largest == -kInfinity) {
    return Internal(
        "No token can be chosen: all logits are NaN, minus infinity or forbidden; try --dtype "
        "float32, or fewer restrictions.");
  }
  return largest;
}

template <typename T>
std::span<const T> Part(const std::vector<T>& list, ListRange range) {
  return std::span(list).subspan(static_cast<size_t>(range.begin),
                                 static_cast<size_t>(range.count));
}

// SplitMix64's finaliser (Steele, Lea, Flood, "Fast splittable pseudorandom number generators").
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

double UniformDraw(uint64_t seed, uint64_t position) {
  return static_cast<double>(Mix(Mix(seed) ^ position) >> 11) * 0x1p-53;
}

Result<SampledToken> Logprobs(std::span<const float> logits, int32_t token, int32_t count) {
  const int64_t size = Size(logits);
  if (token < 0 || token >= size) {
    return InvalidArgument("Token " + std::to_string(token) + " is not among the " +
                           std::to_string(size) + " tokens of the vocabulary.");
  }
  TESSERA_ASSIGN_OR_RETURN(const float largest, LargestLogit(logits));
  const double log_sum =
      double{largest} + std::log(ExpSum(logits.data(), size, largest, 1.0f, nullptr));
  const auto entry = [&](int32_t id) {
    const float logit = logits[static_cast<size_t>(id)];
    if (std::isnan(logit)) return SampledLogprob{id, -kInfinity, static_cast<int32_t>(size)};
    return SampledLogprob{id, static_cast<float>(double{logit} - log_sum),
                          static_cast<int32_t>(1 + CountGreater(logits.data(), size, logit))};
  };
  SampledToken result;
  result.token = token;
  result.own = entry(token);

  // The best so far as a heap, the worst of them in front.
  const auto better = [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  std::vector<int32_t> best;
  const auto wanted = static_cast<size_t>(std::clamp<int64_t>(count, 0, size));
  for (int32_t id = 0; wanted > 0 && id < size; ++id) {
    const float logit = logits[static_cast<size_t>(id)];
    if (std::isnan(logit)) continue;
    if (best.size() == wanted) {
      if (!(logit > logits[static_cast<size_t>(best.front())])) continue;
      std::pop_heap(best.begin(), best.end(), better);
      best.back() = id;
    } else {
      best.push_back(id);
    }
    std::push_heap(best.begin(), best.end(), better);
  }
  std::sort_heap(best.begin(), best.end(), better);
  for (int32_t id : best) result.top.push_back(entry(id));
  return result;
}

Result<SampledToken> Sampler::Sample(std::span<const float> logits, const SampleRow& row,
                                     const SamplingBatch& batch) {
  const std::span<const float> adjusted = Adjust(logits, row, batch);
  TESSERA_ASSIGN_OR_RETURN(const float largest, LargestLogit(adjusted));
  SampledToken result;
  result.token = row.temperature < kGreedyTemperature
                     ? static_cast<int32_t>(ArgMax(adjusted.data(), Size(adjusted)))
                     : Draw(adjusted, largest, row);
  if (row.logprobs < 0) return result;
  return Logprobs(logits, result.token, row.logprobs);
}

// The row itself if nothing changes it.
std::span<const float> Sampler::Adjust(std::span<const float> logits, const SampleRow& row,
                                       const SamplingBatch& batch) {
  const bool penalized = row.repetition_penalty != 1.0f || row.presence_penalty != 0.0f ||
                         row.frequency_penalty != 0.0f;
  const bool restricted = row.allowed.count > 0;
  if (row.bias.count == 0 && row.forbidden.count == 0 && !penalized && !restricted) return logits;
  if (restricted) {
    Restrict(logits, row, batch);
  } else {
    adjusted_.assign(logits.begin(), logits.end());
  }
  const int64_t size = Size(logits);
  for (const auto& [token, bias] : Part(batch.bias, row.bias)) {
    if (token >= 0 && token < size) adjusted_[static_cast<size_t>(token)] += bias;
  }
  for (const int32_t token : Part(batch.forbidden, row.forbidden)) {
    if (token >= 0 && token < size) adjusted_[static_cast<size_t>(token)] = -kInfinity;
  }
  if (penalized) Penalize(row, batch);
  return adjusted_;
}

// The allowed logits, everything else minus infinity.
void Sampler::Restrict(std::span<const float> logits, const SampleRow& row,
                       const SamplingBatch& batch) {
  adjusted_.assign(logits.size(), -kInfinity);
  const std::span<const uint64_t> allowed = Part(batch.allowed, row.allowed);
  for (size_t word = 0; word < allowed.size(); ++word) {
    const size_t first = word * 64;
    for (uint64_t bits = allowed[word]; bits != 0; bits &= bits - 1) {
      const size_t token = first + static_cast<size_t>(std::countr_zero(bits));
      if (token < logits.size()) adjusted_[token] = logits[token];
    }
  }
  for (const int32_t token : Part(batch.allowed_besides, row.allowed_besides)) {
    if (token >= 0 && token < Size(logits)) {
      adjusted_[static_cast<size_t>(token)] = logits[static_cast<size_t>(token)];
    }
  }
}

void Sampler::Penalize(const SampleRow& row, const SamplingBatch& batch) {
  for (const HistoryToken& seen : Part(batch.history, row.history)) {
    if (seen.token < 0 || seen.token >= static_cast<int64_t>(adjusted_.size())) continue;
    float& logit = adjusted_[static_cast<size_t>(seen.token)];
    if (row.repetition_penalty != 1.0f) {
      logit = logit > 0 ? logit / row.repetition_penalty : logit * row.repetition_penalty;
    }
    if (seen.output_count == 0) continue;
    logit -= row.frequency_penalty * static_cast<float>(seen.output_count) + row.presence_penalty;
  }
}

int32_t Sampler::Draw(std::span<const float> logits, float largest, const SampleRow& row) {
  const int64_t size = Size(logits);
  weights_.resize(logits.size());
  block_sums_.clear();
  double total = 0;
  for (int64_t start = 0; start < size; start += kBlock) {
    block_sums_.push_back(ExpSum(logits.data() + start, std::min(kBlock, size - start), largest,
                                 1.0f / row.temperature, weights_.data() + start));
    total += block_sums_.back();
  }
  const double uniform = UniformDraw(row.seed, row.position);
  const bool truncated =
      row.min_p > 0.0f || row.top_p < 1.0f || (row.top_k > 0 && row.top_k < size);
  return truncated ? DrawTruncated(row, total, uniform) : DrawFromAll(total, uniform);
}

int32_t Sampler::DrawFromAll(double total, double uniform) const {
  double left = uniform * total;
  size_t block = 0;
  while (block + 1 < block_sums_.size() && left >= block_sums_[block]) left -= block_sums_[block++];
  // Rounding may leave the draw after its block's last weight: then the last one that is not 0.
  size_t chosen = 0;
  const size_t first = block * kBlock;
  for (size_t i = first; i < std::min(weights_.size(), first + kBlock); ++i) {
    if (weights_[i] == 0.0f) continue;
    chosen = i;
    left -= static_cast<double>(weights_[i]);
    if (left < 0) return static_cast<int32_t>(chosen);
  }
  if (weights_[chosen] != 0.0f) return static_cast<int32_t>(chosen);
  const auto last = std::find_if(weights_.rbegin(), weights_.rend(), [](float w) { return w > 0; });
  return static_cast<int32_t>(weights_.rend() - last - 1);
}

// Collects the tokens that weigh at least `least`, and more than nothing.
void Sampler::Gather(float least) {
  candidates_.clear();
  for (size_t i = 0; i < weights_.size(); ++i) {
    if (weights_[i] >= least && weights_[i] > 0.0f) {
      candidates_.push_back({weights_[i], static_cast<int32_t>(i)});
    }
  }
}

int32_t Sampler::DrawTruncated(const SampleRow& row, double total, double uniform) {
  const auto sum = [this] {
    double result = 0;
    for (const Candidate& c : candidates_) result += static_cast<double>(c.weight);
    return result;
  };
  const auto heavier = [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
  };
  const bool by_count = row.top_k > 0 && row.top_k < static_cast<int64_t>(weights_.size());

  // The largest weight is 1. Few tokens weigh much: look at those first, and at lighter ones only
  // if they do not suffice.
  if (row.min_p > 0.0f) {
    Gather(row.min_p);
  } else {
    for (float least = 1.0f / 64;; least = least < 1e-20f ? 0.0f : least / 64) {
      Gather(least);
      const bool enough = by_count ? static_cast<int64_t>(candidates_.size()) >= row.top_k
                                   : sum() >= static_cast<double>(row.top_p) * total;
      if (enough || least == 0.0f) break;
    }
  }

  if (by_count && static_cast<int64_t>(candidates_.size()) > row.top_k) {
    const auto last = candidates_.begin() + row.top_k - 1;
    std::nth_element(candidates_.begin(), last, candidates_.end(), heavier);
    const float least = last->weight;
    std::erase_if(candidates_, [least](const Candidate& c) { return c.weight < least; });
  }
  if (row.top_p < 1.0f) {
    const double mass = by_count || row.min_p > 0.0f ? sum() : total;
    std::sort(candidates_.begin(), candidates_.end(), heavier);
    double reached = 0;
    size_t kept = 0;
    while (kept < candidates_.size() &&
           (kept == 0 || reached < static_cast<double>(row.top_p) * mass)) {
      reached += static_cast<double>(candidates_[kept++].weight);
    }
    candidates_.resize(kept);
  } else {
    // nth_element leaves an order that only its implementation knows.
    std::sort(candidates_.begin(), candidates_.end(), heavier);
  }

  double left = uniform * sum();
  for (const Candidate& c : candidates_) {
    left -= static_cast<double>(c.weight);
    if (left < 0) return c.token;
  }
  return candidates_.back().token;
}

}  // namespace tessera
