// The schedule of portable: one loop over tile policies (tiles.h), for every machine.
//
// Has no include guard and no namespace, and is included after attention_math.inl, which has none
// either. A wave runs Attend(): 64 or 32 lanes in lock step on a GPU, one very wide lane on a CPU.

template <Tiles T, Logits kLogits>
TESSERA_FN void Attend(T& tiles, const KernelArgs& args, const WorkItem& item) {
  using Ops = typename T::Ops;
  const ItemRows rows = RowsOf(args, item);
  const int32_t step = tiles.StepKeys();
  // Counted downwards: key_end may be the largest int32.
  const int32_t keys = item.key_end - item.key_begin;

  const float query_factor = args.scale * HeadScale(args, item, args.key_scales) * T::kUnit *
                             (kLogits == Logits::kScaled ? kLog2e : 1.0f);
  tiles.FetchQuery();
  for (int32_t i = 0; i < T::kAhead; ++i) tiles.Fetch(keys - i * step);
  typename T::Query q;
  typename T::Output o;
  typename T::RowStats m, l;
  tiles.LoadQuery(q, query_factor);
  tiles.Zero(o);
  tiles.StartMaximum(m);
  tiles.Zero(l);

  // The keys that every row of the item sees need no mask.
  const MaskTransform<Ops> mask{args, item, rows};
  const KeyRange first_row = VisibleToRow(args, item, rows, 0);
  const KeyRange last_row = VisibleToRow(args, item, rows, item.row_count - 1);

  for (int32_t left = keys; left > 0; left -= step) {
    const int32_t key = item.key_end - left;
    const int32_t count = left < step ? left : step;
    tiles.Deposit(left);
    tiles.Fetch(left - T::kAhead * step);
    typename T::Scores s;
    tiles.QueryKey(q, s);
    if (args.key_scale_offset != 0) tiles.ScaleKeys(s);
    if constexpr (kLogits == Logits::kSoftCapped) {
      tiles.MapScores(s, key, SoftCap<Ops>{1.0f / args.soft_cap, args.soft_cap * kLog2e});
    } else if constexpr (kLogits == Logits::kBiased) {
      tiles.MapScores(s, key, BiasTransform<Ops>{args, item, rows});
    }
    const bool all_visible = count == step && key >= last_row.begin && key + count <= first_row.end;
    if (!all_visible) tiles.MapScores(s, key, mask);
    typename T::RowStats factor = m;
    tiles.MaxOverKeys(s, m);
    tiles.Correct(factor, m);
    tiles.Probabilities(s, m, factor, l);
    tiles.ScaleRows(o, factor);
    if (args.value_scale_offset != 0) tiles.ScaleValues(s);
    tiles.ProbabilityValue(s, o);
  }
  tiles.SumOverLanes(l);
  if (CountsSinks(args, item)) {
    typename T::RowStats sink;
    tiles.StartMaximum(sink);
    tiles.Correct(sink, m);
    tiles.AddRows(l, sink);
  }
  tiles.Finish(o, m, l, HeadScale(args, item, args.value_scales) * T::kUnit);
}
