// What attention means, written down once more: by every pair of query row and key, in float64.
#include <algorithm>
#include <cmath>
#include <limits>

#include "attention/testing/attention_case.h"

namespace tessera::testing {

bool AttentionCase::Visible(size_t seq, int32_t query_position, int32_t key) const {
  if (key < 0 || key >= seq_lens_[seq]) return false;
  if (spec_.type == AttentionType::kCross) return true;
  for (int32_t i = 0; spec_.prefix_ranges && i < batch_.max_prefix_ranges; ++i) {
    const size_t span =
        (seq * static_cast<size_t>(batch_.max_prefix_ranges) + static_cast<size_t>(i)) * 2;
    const int32_t begin = prefix_ranges_[span], end = prefix_ranges_[span + 1];
    if (begin <= query_position && query_position < end && begin <= key && key < end) return true;
  }
  const bool causal = spec_.causality == Causality::kCausal ||
                      (spec_.causality == Causality::kPerRequest && causal_[seq] != 0);
  if (causal && key > query_position) return false;
  if (spec_.window_left >= 0 && query_position - key > spec_.window_left) return false;
  if (spec_.window_right >= 0 && key - query_position > spec_.window_right) return false;
  if (spec_.chunk_size > 0 && query_position / spec_.chunk_size != key / spec_.chunk_size) {
    return false;
  }
  return true;
}

double AttentionCase::Bias(size_t seq, int32_t token, int32_t head, int32_t key) const {
  double bias = 0.0;
  const double slope = slopes_[static_cast<size_t>(head)];
  const double back = ContextLen(seq) + token - static_cast<double>(key);
  if (spec_.alibi == Alibi::kPlain) bias -= slope * back;
  if (spec_.alibi == Alibi::kSqrt) bias -= slope * std::sqrt(std::max(0.0, back));
  if (spec_.query_query_bias && key >= ContextLen(seq)) {
    const size_t rows = bias_.size() / seq_lens_.size();
    const size_t width = static_cast<size_t>(std::lround(std::sqrt(static_cast<double>(rows))));
    bias += bias_[seq * rows + static_cast<size_t>(token) * width +
                  static_cast<size_t>(key - ContextLen(seq))];
  }
  return bias;
}

void AttentionCase::MakeExpectation() {
  const int64_t rows = int64_t{query_start_loc_.back()} * spec_.num_heads;
  want_.assign(static_cast<size_t>(rows * spec_.value_size()), 0.0);
  want_lse_.assign(static_cast<size_t>(rows), -INFINITY);
  for (size_t seq = 0; seq < seq_lens_.size(); ++seq) {
    for (int32_t token = 0; token < batch_.QueryLen(static_cast<int32_t>(seq)); ++token) {
      for (int32_t head = 0; head < spec_.num_heads; ++head) ExpectRow(seq, token, head);
    }
  }
}

void AttentionCase::ExpectRow(size_t seq, int32_t token, int32_t head) {
  const int32_t kv_head = head / (spec_.num_heads / spec_.num_kv_heads);
  const int64_t row = query_start_loc_[seq] + token;
  std::vector<double> query(static_cast<size_t>(spec_.head_size));
  for (int32_t i = 0; i < spec_.head_size; ++i) {
    query[static_cast<size_t>(i)] =
        static_cast<double>(LoadAsFloat(spec_.query_dtype, query_.data(),
                                        row * token_stride_ + head * head_stride_ + i)) *
        query_scale_;
  }
  std::vector<double> score(static_cast<size_t>(seq_lens_[seq]), -INFINITY);
  double maximum = spec_.sinks ? sinks_[static_cast<size_t>(head)] : -INFINITY;
  for (int32_t key = 0; key < seq_lens_[seq]; ++key) {
    if (!Visible(seq, ContextLen(seq) + token, key)) continue;
    const double* k =
        keys_[seq].rounded.data() + (int64_t{key} * spec_.num_kv_heads + kv_head) * spec_.head_size;
    double dot = 0;
    for (int32_t i = 0; i < spec_.head_size; ++i) dot += query[static_cast<size_t>(i)] * k[i];
    dot *=
        spec_.scale != 0.0f ? spec_.scale : 1.0 / std::sqrt(static_cast<double>(spec_.head_size));
    if (spec_.soft_cap > 0.0f) dot = spec_.soft_cap * std::tanh(dot / spec_.soft_cap);
    dot += Bias(seq, token, head, key);
    score[static_cast<size_t>(key)] = dot;
    maximum = std::max(maximum, dot);
  }
  if (maximum == -INFINITY) return;
  double sum = spec_.sinks ? std::exp(sinks_[static_cast<size_t>(head)] - maximum) : 0.0;
  double* out = want_.data() + (row * spec_.num_heads + head) * spec_.value_size();
  for (int32_t key = 0; key < seq_lens_[seq]; ++key) {
    if (score[static_cast<size_t>(key)] == -INFINITY) continue;
    const double p = std::exp(score[static_cast<size_t>(key)] - maximum);
    sum += p;
    const double* v = values_[seq].rounded.data() +
                      (int64_t{key} * spec_.num_kv_heads + kv_head) * spec_.value_size();
    for (int32_t i = 0; i < spec_.value_size(); ++i) out[i] += p * v[i];
  }
  for (int32_t i = 0; i < spec_.value_size(); ++i) out[i] /= sum;
  want_lse_[static_cast<size_t>(row * spec_.num_heads + head)] = maximum + std::log(sum);
}

}  // namespace tessera::testing
