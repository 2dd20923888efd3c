// What attention computes, once for every machine and schedule: from scores to logits, the step of
// the softmax, its end, and the merge of parts. A schedule decides who loads what when, and has no
// formula of its own.
//
// No include guard and no namespace: each target includes this inside its own namespace, after it
// has defined TESSERA_FN, how a function is declared there. `Ops` (ops.h) is what the machine does
// to numbers: its Float and Int are one number, or a vector of them. Rows may lie in the lanes, or
// keys.
//
// Online softmax as in FlashAttention-2 (arXiv 2307.08691), in base 2: maxima and logits are in
// units of log2. Where scores lack a factor yet, `to_log2` is it: positive, so that the largest
// score is the largest logit.

// s -> after * tanh(s * before): a soft cap comes before the mask.
template <class Ops>
struct SoftCap {
  static constexpr bool kMasks = false;
  float before;
  float after;

  TESSERA_FN const SoftCap& Row(int32_t /*row*/) const { return *this; }
  template <class V, class K>
  TESSERA_FN V operator()(V s, K /*key*/) const {
    return Ops::Mul(Ops::Tanh(Ops::Mul(s, Ops::Set(before))), Ops::Set(after));
  }
};

// s + slope * (key - position), or s - slope * sqrt(position - key), 0 for keys to the right.
template <class Ops>
struct AddAlibi {
  typename Ops::Int position;
  typename Ops::Float slope;
  bool square_root;

  TESSERA_FN typename Ops::Float operator()(typename Ops::Float s, typename Ops::Int key) const {
    const auto distance = Ops::ToFloat(Ops::SubInt(key, position));
    if (!square_root) return Ops::MulAdd(slope, distance, s);
    const auto zero = Ops::Set(0.0f);
    const auto left = Ops::Sqrt(Ops::Max(zero, Ops::Sub(zero, distance)));
    return Ops::Sub(s, Ops::Mul(slope, left));
  }
};

// Keys outside a row's interval count as -infinity.
template <class Ops>
struct Mask {
  typename Ops::Int begin;
  typename Ops::Int end;

  TESSERA_FN typename Ops::Float operator()(typename Ops::Float s, typename Ops::Int key) const {
    return Ops::Select(Ops::InRange(key, begin, end), s, Ops::Set(Ops::kMinusInfinity));
  }
};

// Soft cap, then ALiBi, then the query-query bias, of keys in the lanes; to units of log2.
template <class Ops>
struct BiasTransform {
  static constexpr bool kMasks = false;
  const KernelArgs& args;
  const WorkItem& item;
  ItemRows rows;

  struct RowTransform {
    float soft_cap;
    bool square_root;
    RowBias bias;

    template <class V, class K>
    TESSERA_FN V operator()(V s, K key) const {
      if (soft_cap > 0.0f) s = SoftCap<Ops>{1.0f / soft_cap, soft_cap}(s, key);
      if (bias.slope != 0.0f) {
        s = AddAlibi<Ops>{Ops::SetInt(bias.position), Ops::Set(bias.slope), square_root}(s, key);
      }
      if (bias.table != nullptr) {
        const auto index = Ops::SubInt(key, Ops::SetInt(bias.first_key));
        s = Ops::Add(s, Ops::Gather(bias.table, index, bias.num_keys));
      }
      return Ops::Mul(s, Ops::Set(kLog2e));
    }
  };

  TESSERA_FN RowTransform Row(int32_t row) const {
    return {args.soft_cap, args.alibi_sqrt != 0, BiasOfRow(args, item, rows, row)};
  }
};

template <class Ops>
struct MaskTransform {
  static constexpr bool kMasks = true;  // keeps a score or makes it -infinity
  const KernelArgs& args;
  const WorkItem& item;
  ItemRows rows;

  TESSERA_FN Mask<Ops> Row(int32_t row) const {
    const KeyRange range = VisibleToRow(args, item, rows, row);
    return {Ops::SetInt(range.begin), Ops::SetInt(range.end)};
  }
};

// What exponents are taken relative to. A row that has seen no key has the maximum -infinity;
// subtracting that from itself would give NaN.
template <class Ops>
TESSERA_FN typename Ops::Float Reference(typename Ops::Float maximum) {
  return Ops::Select(Ops::Equal(maximum, Ops::Set(Ops::kMinusInfinity)), Ops::Set(0.0f), maximum);
}

// 2^(logit - reference); 0 for a masked key.
template <class Ops>
TESSERA_FN typename Ops::Float Probability(typename Ops::Float logit,
                                           typename Ops::Float reference) {
  return Ops::Exp2(Ops::Sub(logit, reference));
}
template <class Ops>
TESSERA_FN typename Ops::Float Probability(typename Ops::Float score, typename Ops::Float to_log2,
                                           typename Ops::Float reference) {
  return Ops::Exp2(Ops::MulSub(score, to_log2, reference));
}

// The factor that moves sums from an old maximum to the new one; 0 if nothing was seen before. Also
// what a sink, a score without a value, adds to the sum of its row.
template <class Ops>
TESSERA_FN typename Ops::Float Correction(typename Ops::Float old_maximum,
                                          typename Ops::Float maximum) {
  return Ops::Exp2(Ops::Sub(old_maximum, Reference<Ops>(maximum)));
}
template <class Ops>
TESSERA_FN typename Ops::Float Correction(typename Ops::Float old_maximum,
                                          typename Ops::Float maximum,
                                          typename Ops::Float to_log2) {
  return Ops::Exp2(Ops::Mul(Ops::Sub(old_maximum, Reference<Ops>(maximum)), to_log2));
}

// What sums of probabilities times values are multiplied by. A row without keys gives 0, not 0 / 0;
// NaN stays visible.
template <class Ops>
TESSERA_FN typename Ops::Float OutputFactor(typename Ops::Float sum, typename Ops::Float scale) {
  return Ops::DivOrZero(scale, sum);
}

// The natural logarithm of the sum of exponentials; -infinity without keys.
template <class Ops>
TESSERA_FN typename Ops::Float Lse(typename Ops::Float natural_maximum, typename Ops::Float sum) {
  return Ops::Select(Ops::Equal(sum, Ops::Set(0.0f)), Ops::Set(Ops::kMinusInfinity),
                     Ops::Add(natural_maximum, Ops::Mul(Ops::Log2(sum), Ops::Set(kLn2))));
}

// Of the keys of a part, or of all.
template <class Ops>
struct SoftmaxState {
  typename Ops::Float maximum;
  typename Ops::Float sum;
};

// One state of the states of parts, state_of(0) .. state_of(count - 1). Calls add(part, weight):
// their outputs add up with these weights, and await OutputFactor() of the new sum.
template <class Ops, class StateOf, class AddOutput>
TESSERA_FN SoftmaxState<Ops> MergeParts(int32_t count, float to_log2, const StateOf& state_of,
                                        const AddOutput& add) {
  SoftmaxState<Ops> merged = {Ops::kMinusInfinity, 0};
  for (int32_t i = 0; i < count; ++i) {
    merged.maximum = Ops::Max(merged.maximum, state_of(i).maximum);
  }
  for (int32_t i = 0; i < count; ++i) {
    const SoftmaxState<Ops> part = state_of(i);
    const auto weight = Correction<Ops>(part.maximum, merged.maximum, to_log2);
    merged.sum = Ops::MulAdd(weight, part.sum, merged.sum);
    add(i, weight);
  }
  return merged;
}
