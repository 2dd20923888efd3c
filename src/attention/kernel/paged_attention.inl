// The attention algorithm, written once for every machine.
//
// clang-format off
// No include guard and no namespace: each target includes this file inside its own namespace, after it has defined
//   TESSERA_FN      how a function is declared there (inline, __device__ __forceinline__, HWY_INLINE ...)
// and with tessera/kernel types visible. Whoever runs Attend() is a wave: 64 or 32 lanes in lock step on a GPU, one very wide
// lane on a CPU core. The tile policy `Tiles` supplies what an instruction family knows:
//
//   StepKeys()                        keys of one step
//   kUnit                             times what the policy multiplies is K or V
//   Query, Scores, Output, RowStats   the wave's share of Q, S, O and of one number per row
//   LoadQuery(q, factor)              q = Q * factor; rows past the item's end are 0
//   LoadKeysValues(first, count)      K and V of keys first .. first+count-1 become readable; what lies past them reads as 0 or is
//                                     never multiplied, so that NaN in unwritten cache memory cannot spread. Called for the item's keys
//                                     in order, in such steps, so that a policy may fetch ahead
//   QueryKey(q, s)                    S = Q K^T
//   MapScores(s, first, f)            s = f.Row(row)(s, key) for every element; F::kMasks: f keeps a score or makes it -infinity
//   ScaleKeys(s), ScaleValues(s)      S times each key's own scale of K or of V, where the cache has such
//   MaxOverKeys(s, m)                 m = max(m, max over keys of s)
//   Exp2(s, m, factor, l)             s = 2^(s - m) (0 where m is -infinity), l = l * factor + sum over keys, each lane its own part
//   MapRows(a, b, f)                  f(a, b) for every row's pair of numbers, by reference
//   FillRows(a, f)                    a = f(row); -infinity in all but one of several waves that share a row
//   ScaleRows(o, factor)              O = O * factor, row by row
//   ProbabilityValue(s, o)            O += S V
//   SumOverLanes(l)                   completes Exp2's sums
//   Finish(o, m, l, scale)            writes O * scale / l, or a partial (the same, lse); l = 0: writes 0 and lse -infinity
//
// Online softmax as in FlashAttention-2 (arXiv 2307.08691), in base 2: m and s are in units of log2.
// clang-format on

// s -> log2(e) * cap * tanh(s / cap): the soft cap comes before the mask.
template <class Ops>
struct SoftCapTransform {
  static constexpr bool kMasks = false;
  float inverse_cap;
  float cap_log2e;
  TESSERA_FN const SoftCapTransform& Row(int32_t /*row*/) const { return *this; }
  template <class V, class K>
  TESSERA_FN V operator()(V s, K /*key*/) const {
    return Ops::Mul(Ops::Tanh(Ops::Mul(s, inverse_cap)), cap_log2e);
  }
};

// Soft cap, then ALiBi, then the query-query bias, in units of log2.
template <class Ops>
struct BiasTransform {
  static constexpr bool kMasks = false;
  const KernelArgs& args;
  const WorkItem& item;
  ItemRows rows;

  struct RowTransform {
    float soft_cap;
    float slope;
    int32_t alibi_sqrt;
    int32_t position;
    const float* bias;  // of the request's new tokens, or null
    int32_t context_len;
    int32_t query_len;
    template <class V, class K>
    TESSERA_FN V operator()(V s, K key) const {
      if (soft_cap > 0.0f) s = Ops::Mul(Ops::Tanh(Ops::Mul(s, 1.0f / soft_cap)), soft_cap);
      if (slope != 0.0f) {
        s = alibi_sqrt != 0 ? Ops::Sub(s, Ops::Mul(Ops::SqrtDistance(key, position), slope))
                            : Ops::Add(s, Ops::Mul(Ops::Distance(key, position), slope));
      }
      if (bias != nullptr) s = Ops::AddBias(s, bias, key, context_len, query_len);
      return Ops::Mul(s, 1.44269504088896340736f);
    }
  };

  TESSERA_FN RowTransform Row(int32_t row) const {
    const int32_t packed = item.row_begin + row;
    const int32_t token = packed / args.group;
    const int32_t head = item.kv_head * args.group + packed % args.group;
    const bool exists = row < item.row_count;  // a policy's tile may hold more rows than the item
    return {
        args.soft_cap,
        args.alibi_slopes != nullptr && exists ? args.alibi_slopes[head] : 0.0f,
        args.alibi_sqrt,
        rows.context_len + token,
        args.query_query_bias != nullptr && exists
            ? args.query_query_bias + item.seq * args.bias_seq_stride + token * args.bias_row_stride
            : nullptr,
        rows.context_len,
        rows.query_len};
  }
};

// Keys outside a row's interval count as -infinity.
template <class Ops>
struct MaskTransform {
  static constexpr bool kMasks = true;
  const KernelArgs& args;
  const WorkItem& item;
  ItemRows rows;
  int32_t key_end;  // what lies behind it belongs to other items, or to nobody

  struct RowTransform {
    KeyRange range;
    template <class V, class K>
    TESSERA_FN V operator()(V s, K key) const {
      return Ops::KeepInRange(s, key, range.begin, range.end);
    }
  };

  TESSERA_FN RowTransform Row(int32_t row) const {
    if (item.shared_prefix != 0) return {{0, key_end}};
    return {VisibleKeys(args.mask, item.seq, (item.row_begin + row) / args.group, rows.context_len,
                        key_end)};
  }
};

// Each row's sink, in units of log2.
struct SinkOfRow {
  const KernelArgs& args;
  const WorkItem& item;
  TESSERA_FN float operator()(int32_t row) const {
    return args.sinks[item.kv_head * args.group + (item.row_begin + row) % args.group] *
           1.44269504088896340736f;
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

template <class Ops>
struct AddTransform {
  template <class V>
  TESSERA_FN void operator()(V& sum, V& x) const {
    sum = Ops::Add(sum, x);
  }
};

// The scale of the item's KV head, or of the tensor; `scales` may be null.
TESSERA_FN float HeadScale(const KernelArgs& args, const WorkItem& item, const float* scales) {
  return scales != nullptr ? scales[item.kv_head * args.scale_head_stride] : 1.0f;
}

template <class Tiles, Logits kLogits>
TESSERA_FN void Attend(Tiles& tiles, const KernelArgs& args, const WorkItem& item) {
  using Ops = typename Tiles::Ops;
  constexpr float kLog2e = 1.44269504088896340736f;
  const ItemRows rows = RowsOf(args, item);
  const float key_scale = HeadScale(args, item, args.key_scales);

  typename Tiles::Query q;
  typename Tiles::Output o;
  typename Tiles::RowStats m, l;
  tiles.LoadQuery(
      q, args.scale * key_scale * Tiles::kUnit * (kLogits == Logits::kScaled ? kLog2e : 1.0f));
  tiles.Zero(o);
  // A sink takes part as a score without a value, in one of the parts of a split key range.
  const bool sinks = args.sinks != nullptr && item.first_part != 0;
  if (sinks) {
    tiles.FillRows(m, SinkOfRow{args, item});
  } else {
    tiles.Fill(m, Ops::kMinusInfinity);
  }
  tiles.Fill(l, 0.0f);

  // The keys that every row of the item sees need no mask.
  const MaskTransform<Ops> mask{args, item, rows,
                                item.key_end < rows.seq_len ? item.key_end : rows.seq_len};
  const KeyRange first_row = mask.Row(0).range;
  const KeyRange last_row = mask.Row(item.row_count - 1).range;

  const int32_t step = tiles.StepKeys();
  // Counted downwards: key_end may be the largest int32.
  for (int32_t left = item.key_end - item.key_begin; left > 0; left -= step) {
    const int32_t key = item.key_end - left;
    const int32_t count = left < step ? left : step;
    tiles.LoadKeysValues(key, count);
    typename Tiles::Scores s;
    tiles.QueryKey(q, s);
    if (args.key_scale_offset != 0) tiles.ScaleKeys(s);
    if constexpr (kLogits == Logits::kSoftCapped) {
      tiles.MapScores(s, key, SoftCapTransform<Ops>{1.0f / args.soft_cap, args.soft_cap * kLog2e});
    } else if constexpr (kLogits == Logits::kBiased) {
      tiles.MapScores(s, key, BiasTransform<Ops>{args, item, rows});
    }
    const bool all_visible = count == step && key >= last_row.begin && key + count <= first_row.end;
    if (!all_visible) tiles.MapScores(s, key, mask);
    typename Tiles::RowStats factor = m;
    tiles.MaxOverKeys(s, m);
    tiles.MapRows(factor, m, CorrectionTransform<Ops>{});
    tiles.Exp2(s, m, factor, l);
    tiles.ScaleRows(o, factor);
    if (args.value_scale_offset != 0) tiles.ScaleValues(s);
    tiles.ProbabilityValue(s, o);
  }
  tiles.SumOverLanes(l);
  if (sinks) {
    typename Tiles::RowStats sink;
    tiles.FillRows(sink, SinkOfRow{args, item});
    tiles.MapRows(sink, m, CorrectionTransform<Ops>{});
    tiles.MapRows(l, sink, AddTransform<Ops>{});
  }
  tiles.Finish(o, m, l, HeadScale(args, item, args.value_scales) * Tiles::kUnit);
}
