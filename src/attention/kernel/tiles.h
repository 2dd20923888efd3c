// What the schedule of paged_attention.inl asks of a tile policy: the tiles of one item, as one
// family of instructions multiplies them.
#pragma once

#include <concepts>
#include <cstdint>

#include "attention/kernel/ops.h"

namespace tessera::kernel {

// What MapScores() takes: a row's function of scores and their keys.
struct ScoreFunction {
  const ScoreFunction& Row(int32_t row) const;
  template <class V, class K>
  V operator()(V score, K key) const;
};

// A step is named by how many keys of the item are left when it begins. Query, Scores, Output and
// RowStats are the wave's share of Q, S, O and of one number per row.
template <class T>
concept Tiles = NumberOps<typename T::Ops> && requires(T tiles, typename T::Query q,
                                                       typename T::Scores s, typename T::Output o,
                                                       typename T::RowStats m, int32_t left,
                                                       float factor) {
  { tiles.StepKeys() } -> std::same_as<int32_t>;
  factor = T::kUnit;  // times what is multiplied is K or V
  // K and V travel kAhead steps before they are needed: Fetch() starts a step's load, if there is
  // such a step, Deposit() makes it readable, in the same order. What lies past the item's keys
  // reads as 0 or is never multiplied, so that NaN in unwritten cache memory cannot spread.
  left = T::kAhead;
  tiles.Fetch(left);
  tiles.Deposit(left);
  // q = Q * factor, of which FetchQuery() starts the load; rows past the item's end are 0.
  tiles.FetchQuery();
  tiles.LoadQuery(q, factor);
  tiles.Zero(o);          // O = 0
  tiles.Zero(m);          // 0 for every row
  tiles.StartMaximum(m);  // the row's sink, a score without a value, in one of the waves that share
                          // the row; -infinity elsewhere
  tiles.QueryKey(q, s);   // S = Q K^T
  tiles.MapScores(s, left, ScoreFunction());  // (s, first, f): s = f.Row(row)(s, key)
  tiles.ScaleKeys(s);                         // times each key's own scale of K
  tiles.ScaleValues(s);                       // times each key's own scale of V
  tiles.MaxOverKeys(s, m);                    // m = max(m, max over keys of s)
  tiles.Correct(m, m);              // (old, m): old = Correction(), from it to the new maximum
  tiles.Probabilities(s, m, m, m);  // (s, m, factor, l): s = Probability(), l = l * factor + sum of
                                    // s, each lane its own part
  tiles.ScaleRows(o, m);            // O = O * m
  tiles.ProbabilityValue(s, o);     // O += S V
  tiles.AddRows(m, m);              // row by row
  tiles.SumOverLanes(m);            // completes the sums of Probabilities()
  tiles.Finish(o, m, m, factor);    // (o, m, l, scale): writes O * OutputFactor(l, scale) and Lse()
};

}  // namespace tessera::kernel
