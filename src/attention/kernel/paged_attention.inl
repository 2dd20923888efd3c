// The attention algorithm, written once for every machine.
//
// clang-format off
// No include guard and no namespace: each target includes this file inside its own namespace, after it has defined
//   TESSERA_FN      how a function is declared there (inline, __device__ __forceinline__, HWY_INLINE ...)
// and with tessera/kernel types visible. Whoever runs Attend() is a wave: 64 or 32 lanes in lock step on a GPU, one very wide
// lane on a CPU core. The tile policy `Tiles` supplies what an instruction family knows:
//
//   kKeys                             keys of one step
//   Query, Scores, Output, RowStats   the wave's share of Q, S, O and of one number per row
//   LoadQuery(q, factor)              q = Q * factor; rows past the item's end are 0
//   LoadKeysValues(first, count)      K and V of keys first .. first+count-1 become readable; what lies past them reads as 0 or is
//                                     never multiplied, so that NaN in unwritten cache memory cannot spread
//   QueryKey(q, s)                    S = Q K^T
//   MapScores(s, first, f)            s = f(s, row, key) for every element
//   MaxOverKeys(s, m)                 m = max(m, max over keys of s)
//   Exp2(s, m, factor, l)             s = 2^(s - m) (0 where m is -infinity), l = l * factor + sum over keys, each lane its own part
//   MapRows(a, b, f)                  f(a, b) for every row's pair of numbers, by reference
//   ScaleRows(o, factor)              O = O * factor, row by row
//   ProbabilityValue(s, o)            O += S V
//   SumOverLanes(l)                   completes Exp2's sums
//   Finish(o, m, l)                   writes O / l, or a partial (O / l, lse); l = 0: writes 0 and lse -infinity
//
// Online softmax as in FlashAttention-2 (arXiv 2307.08691), in base 2: m and s are in units of log2.
// clang-format on

// s -> log2(e) * cap * tanh(scale * q.k / cap): the soft cap comes before the mask.
template <class Ops>
struct SoftCapTransform {
  float inverse_cap;
  float cap_log2e;
  template <class V, class K>
  TESSERA_FN V operator()(V s, int32_t /*row*/, K /*key*/) const {
    return Ops::Mul(Ops::Tanh(Ops::Mul(s, inverse_cap)), cap_log2e);
  }
};

// Keys outside a row's interval count as -infinity.
template <class Ops>
struct MaskTransform {
  const KernelArgs& args;
  int32_t row_begin;
  int32_t context_len;
  int32_t seq_len;
  template <class V, class K>
  TESSERA_FN V operator()(V s, int32_t row, K key) const {
    const KeyRange range = VisibleKeys((row_begin + row) / args.group, context_len, seq_len,
                                       args.causal, args.window_left, args.window_right);
    return Ops::KeepInRange(s, key, range.begin, range.end);
  }
};

// Old maximum -> the factor that moves sums from it to the new one; 0 where nothing was seen yet.
template <class Ops>
struct CorrectionTransform {
  template <class V>
  TESSERA_FN void operator()(V& old_to_factor, V& maximum) const {
    // A row that has seen no key keeps -infinity; subtracting it from itself would give NaN.
    old_to_factor = Ops::Exp2(Ops::Sub(old_to_factor, Ops::ZeroIfMinusInfinity(maximum)));
  }
};

template <class Tiles, bool kSoftCap>
TESSERA_FN void Attend(Tiles& tiles, const KernelArgs& args, const WorkItem& item) {
  using Ops = typename Tiles::Ops;
  constexpr float kLog2e = 1.44269504088896340736f;
  const int32_t seq_len = args.seq_lens[item.seq];
  const int32_t query_len = args.query_start_loc[item.seq + 1] - args.query_start_loc[item.seq];
  const int32_t context_len = seq_len - query_len;

  typename Tiles::Query q;
  typename Tiles::Output o;
  typename Tiles::RowStats m, l;
  tiles.LoadQuery(q, kSoftCap ? args.scale : args.scale * kLog2e);
  tiles.Zero(o);
  tiles.Fill(m, Ops::kMinusInfinity);
  tiles.Fill(l, 0.0f);

  // The keys that every row of the item sees need no mask.
  const KeyRange first_row = VisibleKeys(item.row_begin / args.group, context_len, seq_len,
                                         args.causal, args.window_left, args.window_right);
  const KeyRange last_row =
      VisibleKeys((item.row_begin + item.row_count - 1) / args.group, context_len, seq_len,
                  args.causal, args.window_left, args.window_right);

  // Counted downwards: key_end may be the largest int32.
  for (int32_t left = item.key_end - item.key_begin; left > 0; left -= Tiles::kKeys) {
    const int32_t key = item.key_end - left;
    const int32_t count = left < Tiles::kKeys ? left : Tiles::kKeys;
    tiles.LoadKeysValues(key, count);
    typename Tiles::Scores s;
    tiles.QueryKey(q, s);
    if constexpr (kSoftCap) {
      tiles.MapScores(s, key, SoftCapTransform<Ops>{1.0f / args.soft_cap, args.soft_cap * kLog2e});
    }
    const bool all_visible =
        count == Tiles::kKeys && key >= last_row.begin && key + count <= first_row.end;
    if (!all_visible) {
      // The interval ends at the item's own range: what lies behind it belongs to other items, or
      // to nobody.
      tiles.MapScores(s, key,
                      MaskTransform<Ops>{args, item.row_begin, context_len,
                                         item.key_end < seq_len ? item.key_end : seq_len});
    }
    typename Tiles::RowStats factor = m;
    tiles.MaxOverKeys(s, m);
    tiles.MapRows(factor, m, CorrectionTransform<Ops>{});
    tiles.Exp2(s, m, factor, l);
    tiles.ScaleRows(o, factor);
    tiles.ProbabilityValue(s, o);
  }
  tiles.SumOverLanes(l);
  tiles.Finish(o, m, l);
}
