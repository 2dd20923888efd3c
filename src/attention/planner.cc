#include "attention/planner.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <queue>

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
  return options.item_cost + keys * (options.load_cost + tile.row_count);
}

// Keys before `skip_keys` are left out: the cascade brings them.
//
// With spec.batch_invariant a row's keys are divided at places that depend on the row alone: keys
// are counted from 0 if they begin there for all rows of the tile, else the tile is one token's.
void AppendTiles(const AttentionSpec& spec, const AttentionBatch& batch,
                 const kernel::MaskRule& mask, int32_t seq, int32_t max_rows, int32_t skip_keys,
                 std::vector<Tile>* tiles) {
  const int32_t query_len = batch.QueryLen(seq);
  const int32_t seq_len = batch.host.seq_lens[seq];
  const int32_t context_len = seq_len - query_len;
  const int32_t group = spec.group_size();
  const int64_t rows = int64_t{query_len} * group;
  const auto keys_of = [&](int64_t row) {
    return kernel::VisibleKeys(mask, seq, static_cast<int32_t>(row / group), context_len, seq_len);
  };
  int32_t count = 0;
  for (int64_t begin = 0; begin < rows; begin += count) {
    count = static_cast<int32_t>(std::min<int64_t>(max_rows, rows - begin));
    const KeyRange first = keys_of(begin);
    KeyRange last = keys_of(begin + count - 1);
    if (spec.batch_invariant && last.begin > 0) {
      count = std::min(count, group - static_cast<int32_t>(begin % group));
      last = first;
    }
    tiles->push_back(
        {seq, static_cast<int32_t>(begin), count, {std::max(skip_keys, first.begin), last.end}});
  }
}

// How many leading keys are computed for all rows together; 0: none. It must be worth its merges,
// every row must see all of them, and what is added to scores must not depend on the request.
int32_t CascadeKeys(const AttentionSpec& spec, const AttentionBatch& batch,
                    const PlannerOptions& options) {
  const bool plain = spec.type == AttentionType::kDecoder && spec.window_left < 0 &&
                     spec.chunk_size == 0 && spec.alibi == Alibi::kNone && !spec.query_query_bias &&
                     !spec.batch_invariant && options.phases == Phases::kBoth;
  if (!plain || batch.common_prefix_len < options.cascade_min_keys) return 0;
  int32_t seqs = 0;
  int32_t keys = batch.common_prefix_len;
  for (int32_t seq = 0; seq < batch.num_seqs; ++seq) {
    if (batch.QueryLen(seq) == 0) continue;
    ++seqs;
    keys = std::min(keys, batch.host.seq_lens[seq] - batch.QueryLen(seq));
  }
  return seqs >= options.cascade_min_seqs && keys >= options.cascade_min_keys ? keys : 0;
}

int32_t RoundUp(int64_t value, int32_t multiple) {
  return static_cast<int32_t>((value + multiple - 1) / multiple * multiple);
}

// The last part of a sequence of nearly 2^31 keys would end past int32.
int32_t PartEnd(int32_t begin, int32_t part_keys, int32_t end) {
  return end - begin <= part_keys ? end : begin + part_keys;
}

// Keys per part. Splits keys so that no item costs much more than its fair share.
int32_t PartKeys(const Tile& tile, double share, const AttentionSpec& spec,
                 const PlannerOptions& options) {
  const int32_t whole = std::max(1, tile.length());
  if (spec.batch_invariant) return options.invariant_split_keys;
  const double cost = Cost(tile, tile.length(), options);
  if (cost <= share) return whole;
  const int64_t parts = static_cast<int64_t>(std::ceil(cost / share));
  return std::max(options.min_split_keys,
                  RoundUp((tile.length() + parts - 1) / parts, options.key_step));
}

int32_t PartCount(const Tile& tile, int32_t part_keys) {
  return static_cast<int32_t>(
      std::max<int64_t>(1, (int64_t{tile.length()} + part_keys - 1) / part_keys));
}

// Returns how long `workers` take for all tiles of one KV head, the costliest item first, if none
// may cost more than `share`; 0 if there are more items than `max_items`.
double Makespan(const std::vector<Tile>& tiles, double share, int32_t workers, size_t max_items,
                const AttentionSpec& spec, const PlannerOptions& options) {
  std::vector<double> costs;
  double merging = 0;
  for (const Tile& tile : tiles) {
    const int32_t part_keys = PartKeys(tile, share, spec, options);
    const int32_t parts = PartCount(tile, part_keys);
    const double extra = parts > 1 ? tile.row_count * options.merge_cost : 0.0;
    if (parts > 1) merging = options.item_cost;  // one more pass over the device
    for (int32_t part = 0; part < parts; ++part) {
      const int32_t keys = std::min(part_keys, tile.length() - part * part_keys);
      costs.push_back(Cost(tile, std::max(0, keys), options) + extra);
    }
    if (costs.size() > max_items) return 0;
  }
  std::sort(costs.begin(), costs.end(), std::greater<>());
  std::priority_queue<double, std::vector<double>, std::greater<>> free_at;
  for (int32_t i = 0; i < workers; ++i) free_at.push(0.0);
  double end = 0;
  for (const double cost : costs) {
    const double done = free_at.top() + cost;
    free_at.pop();
    free_at.push(done);
    end = std::max(end, done);
  }
  return end + merging;
}

// The largest cost of an item that lets all workers end early.
double BestShare(const std::vector<Tile>& tiles, const AttentionSpec& spec,
                 const PlannerOptions& options) {
  double longest = 1;
  for (const Tile& tile : tiles) longest = std::max(longest, Cost(tile, tile.length(), options));
  const int32_t workers = std::max(1, options.workers / spec.num_kv_heads);
  // More items than this balance well by themselves.
  const size_t max_items = tiles.size() + 4 * static_cast<size_t>(workers);
  double best = longest, best_end = 0;
  for (int32_t parts = 1; parts <= 4 * workers; parts += std::max(1, parts / 4)) {
    const double share = longest / parts * (1 + 1e-9);
    const double end = Makespan(tiles, share, workers, max_items, spec, options);
    if (end == 0) break;
    if (best_end == 0 || end < best_end) {
      best = share;
      best_end = end;
    }
  }
  return best;
}

struct Ranked {
  double cost;
  WorkItem item;
};

// The items of the cascade's shared keys: rows of all requests together. Their partial rows are
// [part, kv_head, packed row].
struct Cascade {
  int32_t keys = 0;
  int32_t part_keys = 0;
  int32_t parts = 0;
  int64_t rows = 0;  // packed rows of one KV head
};

Cascade AppendCascade(const AttentionSpec& spec, const AttentionBatch& batch, int32_t keys,
                      double share, const PlannerOptions& options, WorkList* list,
                      std::vector<Ranked>* ranked) {
  Cascade cascade{.keys = keys};
  if (keys == 0) return cascade;
  int32_t first_seq = 0;  // whose blocks are read
  while (batch.QueryLen(first_seq) == 0) ++first_seq;
  cascade.rows = int64_t{batch.host.query_start_loc[batch.num_seqs]} * spec.group_size();
  const int32_t tile_rows = static_cast<int32_t>(std::min<int64_t>(options.max_rows, cascade.rows));
  cascade.part_keys = PartKeys({-1, 0, tile_rows, {0, keys}}, share, spec, options);
  cascade.parts = PartCount({-1, 0, tile_rows, {0, keys}}, cascade.part_keys);
  for (int32_t part = 0; part < cascade.parts; ++part) {
    const int32_t begin = part * cascade.part_keys;
    const int32_t end = PartEnd(begin, cascade.part_keys, keys);
    for (int32_t head = 0; head < spec.num_kv_heads; ++head) {
      for (int64_t row = 0; row < cascade.rows; row += options.max_rows) {
        const Tile tile{
            first_seq,
            static_cast<int32_t>(row),
            static_cast<int32_t>(std::min<int64_t>(options.max_rows, cascade.rows - row)),
            {begin, end}};
        ranked->push_back({Cost(tile, end - begin, options),
                           {.seq = first_seq,
                            .kv_head = head,
                            .row_begin = tile.row_begin,
                            .row_count = tile.row_count,
                            .key_begin = begin,
                            .key_end = end,
                            .partial_row = list->partial_rows + row,
                            .first_part = 0,
                            .shared_prefix = 1}});
      }
      list->partial_rows += cascade.rows;
    }
  }
  return cascade;
}

}  // namespace

kernel::MaskRule MakeMaskRule(const AttentionSpec& spec, const AttentionBatch& batch,
                              const BatchArrays& arrays) {
  return {.causal = spec.causality == Causality::kCausal,
          .window_left = spec.window_left,
          .window_right = spec.window_right,
          .chunk_size = spec.chunk_size,
          .causal_by_seq = spec.causality == Causality::kPerRequest ? arrays.causal : nullptr,
          .prefix_ranges = arrays.prefix_ranges,
          .max_prefix_ranges = spec.prefix_ranges ? batch.max_prefix_ranges : 0};
}

void PlanWork(const AttentionSpec& spec, const AttentionBatch& batch, const PlannerOptions& options,
              WorkList* list) {
  list->items.clear();
  list->merges.clear();
  list->partial_rows = 0;

  const kernel::MaskRule mask = MakeMaskRule(spec, batch, batch.host);
  const int32_t cascade_keys = CascadeKeys(spec, batch, options);
  std::vector<Tile> tiles;
  for (int32_t seq = 0; seq < batch.num_seqs; ++seq) {
    if (!Includes(options.phases, batch.QueryLen(seq))) continue;
    AppendTiles(spec, batch, mask, seq, options.max_rows, cascade_keys, &tiles);
  }
  double total = 0;
  for (const Tile& tile : tiles) total += Cost(tile, tile.length(), options);
  if (cascade_keys > 0) {
    const double rows = double{1} * batch.host.query_start_loc[batch.num_seqs] * spec.group_size();
    total += cascade_keys * (rows + std::ceil(rows / options.max_rows) * options.load_cost);
  }
  total *= spec.num_kv_heads;
  // Four shares a worker leave room to balance; a lone worker has nobody to balance with.
  double share = options.workers == 1 ? total + 1 : total / (4.0 * options.workers);
  if (options.whole_waves && cascade_keys == 0 && !spec.batch_invariant) {
    share = BestShare(tiles, spec, options);
  }

  std::vector<Ranked> ranked;
  const Cascade cascade = AppendCascade(spec, batch, cascade_keys, share, options, list, &ranked);
  const int64_t shared_rows = list->partial_rows;
  for (const Tile& tile : tiles) {
    const int32_t part_keys = PartKeys(tile, share, spec, options);
    const int32_t parts = PartCount(tile, part_keys);
    for (int32_t head = 0; head < spec.num_kv_heads; ++head) {
      const bool partial = parts > 1 || cascade.keys > 0;
      if (partial) {
        kernel::MergeItem merge{.seq = tile.seq,
                                .kv_head = head,
                                .row_begin = tile.row_begin,
                                .row_count = tile.row_count,
                                .partial_row = list->partial_rows,
                                .parts = parts};
        if (cascade.keys > 0) {
          merge.shared_row = head * cascade.rows +
                             int64_t{batch.host.query_start_loc[tile.seq]} * spec.group_size() +
                             tile.row_begin;
          merge.shared_stride = shared_rows / cascade.parts;
          merge.shared_parts = cascade.parts;
        }
        list->merges.push_back(merge);
      }
      for (int32_t part = 0; part < parts; ++part) {
        const int32_t begin = tile.keys.begin + part * part_keys;
        const int32_t end = PartEnd(begin, part_keys, tile.keys.end);
        WorkItem item{.seq = tile.seq,
                      .kv_head = head,
                      .row_begin = tile.row_begin,
                      .row_count = tile.row_count,
                      .key_begin = begin,
                      .key_end = end,
                      .first_part = part == 0};
        if (partial) {
          item.partial_row = list->partial_rows;
          list->partial_rows += tile.row_count;
        }
        ranked.push_back({Cost(tile, std::max(0, end - begin), options), item});
      }
    }
  }
  // Longest first, to shorten the tail. The sort is stable: items of one KV head stay adjacent in
  // cache.
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const Ranked& a, const Ranked& b) { return a.cost > b.cost; });
  list->items.reserve(ranked.size());
  for (const Ranked& r : ranked) list->items.push_back(r.item);
}

}  // namespace tessera
