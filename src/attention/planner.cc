#include "attention/planner.h"

#include <algorithm>
#include <cmath>

#include "attention/kernel/key_range.h"

namespace tessera {

namespace {

using kernel::KeyRange;
using kernel::WorkItem;

// Rows of one request under any of its KV heads, and the keys that at least one of them sees.
struct Tile {
  int32_t seq;
  int32_t row_begin;
  int32_t row_count;
  KeyRange keys;
  int32_t length() const { return std::max(0, keys.end - keys.begin); }
};

double Cost(const Tile& tile, int32_t keys, const PlannerOptions& options) {
  // The constant stands for fetching the query and writing the result, which even a row without
  // keys needs.
  return 64.0 + keys * (options.load_cost + tile.row_count);
}

void AppendTiles(const AttentionSpec& spec, const AttentionBatch& batch, int32_t seq,
                 int32_t max_rows, std::vector<Tile>* tiles) {
  const int32_t query_len = batch.QueryLen(seq);
  const int32_t seq_len = batch.seq_lens[seq];
  const int32_t context_len = seq_len - query_len;
  const int32_t group = spec.group_size();
  const int32_t causal = spec.causality == Causality::kCausal;
  const int64_t rows = int64_t{query_len} * group;
  for (int64_t begin = 0; begin < rows; begin += max_rows) {
    const int32_t count = static_cast<int32_t>(std::min<int64_t>(max_rows, rows - begin));
    const int32_t first_token = static_cast<int32_t>(begin / group);
    const int32_t last_token = static_cast<int32_t>((begin + count - 1) / group);
    const KeyRange first = kernel::VisibleKeys(first_token, context_len, seq_len, causal,
                                               spec.window_left, spec.window_right);
    const KeyRange last = kernel::VisibleKeys(last_token, context_len, seq_len, causal,
                                              spec.window_left, spec.window_right);
    tiles->push_back(
        {seq, static_cast<int32_t>(begin), count, {std::max(0, first.begin), last.end}});
  }
}

int32_t RoundUp(int64_t value, int32_t multiple) {
  return static_cast<int32_t>((value + multiple - 1) / multiple * multiple);
}

// The last part of a sequence of nearly 2^31 keys would end past int32.
int32_t PartEnd(int32_t begin, int32_t part_keys, int32_t end) {
  return end - begin <= part_keys ? end : begin + part_keys;
}

// Keys per part, so that no item is much dearer than a fair share.
int32_t PartKeys(const Tile& tile, double share, const AttentionSpec& spec,
                 const PlannerOptions& options) {
  if (spec.batch_invariant) return options.invariant_split_keys;
  const double cost = Cost(tile, tile.length(), options);
  if (cost <= share) return std::max(1, tile.length());
  const int64_t parts = static_cast<int64_t>(std::ceil(cost / share));
  return std::max(options.min_split_keys,
                  RoundUp((tile.length() + parts - 1) / parts, options.key_step));
}

}  // namespace

void PlanWork(const AttentionSpec& spec, const AttentionBatch& batch, const PlannerOptions& options,
              WorkList* list) {
  list->items.clear();
  list->merges.clear();
  list->partial_rows = 0;

  std::vector<Tile> tiles;
  double total = 0;
  for (int32_t seq = 0; seq < batch.num_seqs; ++seq) {
    AppendTiles(spec, batch, seq, options.max_rows, &tiles);
  }
  for (const Tile& tile : tiles) total += Cost(tile, tile.length(), options);
  total *= spec.num_kv_heads;
  // Four shares a worker leave room to balance; a lone worker has nobody to balance with.
  const double share = options.workers == 1 ? total + 1 : total / (4.0 * options.workers);

  struct Ranked {
    double cost;
    WorkItem item;
  };
  std::vector<Ranked> ranked;
  for (const Tile& tile : tiles) {
    const int32_t part_keys = PartKeys(tile, share, spec, options);
    const int32_t parts = static_cast<int32_t>(
        std::max<int64_t>(1, (int64_t{tile.length()} + part_keys - 1) / part_keys));
    for (int32_t head = 0; head < spec.num_kv_heads; ++head) {
      if (parts > 1) {
        list->merges.push_back({.seq = tile.seq,
                                .kv_head = head,
                                .row_begin = tile.row_begin,
                                .row_count = tile.row_count,
                                .partial_row = list->partial_rows,
                                .parts = parts});
      }
      for (int32_t part = 0; part < parts; ++part) {
        const int32_t begin = tile.keys.begin + part * part_keys;
        const int32_t end = PartEnd(begin, part_keys, tile.keys.end);
        WorkItem item{.seq = tile.seq,
                      .kv_head = head,
                      .row_begin = tile.row_begin,
                      .row_count = tile.row_count,
                      .key_begin = begin,
                      .key_end = end};
        if (parts > 1) {
          item.partial_row = list->partial_rows;
          list->partial_rows += tile.row_count;
        }
        ranked.push_back({Cost(tile, std::max(0, end - begin), options), item});
      }
    }
  }
  // The dearest first, so that the last ones to be taken are small; equal ones stay in order, which
  // keeps neighbours of one KV head together in the cache.
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const Ranked& a, const Ranked& b) { return a.cost > b.cost; });
  list->items.reserve(ranked.size());
  for (const Ranked& r : ranked) list->items.push_back(r.item);
}

}  // namespace tessera
