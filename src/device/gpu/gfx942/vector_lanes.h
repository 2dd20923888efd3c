// Makes a vector instruction of a function on one lane's values: the function's types say how many
// registers its operands have and what constants mean.
//
//   AddLanes(table, "v_add_u32", [](uint32_t a, uint32_t b) { return a + b; });
//
// Loops run over all 64 lanes, so that compilers make vectors of them; lanes that are switched off
// keep their destination.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "device/gpu/gfx942/opcode_table.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define TESSERA_GFX942_WIDE __attribute__((target("avx2,fma")))
#endif

namespace tessera::gfx942 {

// 16 bits of a register.
struct Half {
  uint16_t bits = 0;
};
// A result of 16 bits that leaves the register's other half as it is.
struct KeptHalf {
  uint16_t bits = 0;
};

template <class T>
constexpr int kWidth = sizeof(T) == 8 ? 2 : 1;

template <class T>
constexpr Number kNumber = std::is_same_v<T, float>      ? Number::kFloat32
                           : std::is_same_v<T, double>   ? Number::kFloat64
                           : std::is_same_v<T, Half>     ? Number::kFloat16
                           : std::is_same_v<T, uint16_t> ? Number::kBits16
                           : sizeof(T) == 8              ? Number::kBits64
                                                         : Number::kBits32;

template <class T>
constexpr bool kIsFloat =
    std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, Half>;

// Where lane `lane` takes an exchanged value from; -1: from nowhere.
int ExchangeSource(const Instruction& instruction, int lane);
// Which lanes an instruction writes: exec, less those that an exchange leaves alone.
uint64_t WrittenLanes(const Wave& wave, const Instruction& instruction);

// Register `part` of operand k of all lanes, with its modifiers. `sign`: the bit that signs change.
void ReadModified(const Wave& wave, const Instruction& instruction, int k, int part, int bits,
                  uint32_t* values);
// Constants and scalars.
inline void Broadcast(uint32_t value, uint32_t* values) {
  for (int l = 0; l < kLanes; ++l) values[l] = value;
}

// One register's worth of an operand: the register itself if nothing has to be done to it.
class Column {
 public:
  Column(const Wave& wave, const Instruction& i, int k, int part, int bits) {
    const Operand& o = i.operand[static_cast<size_t>(k)];
    if (i.plain && o.kind == OperandKind::kVector) {
      values_ = wave.v(o.index + part);
      return;
    }
    values_ = buffer_;
    if (!i.plain) {
      ReadModified(wave, i, k, part, bits, buffer_);
    } else if (o.kind == OperandKind::kScalar) {
      Broadcast(wave.s[static_cast<size_t>(o.index + part)], buffer_);
    } else {
      Broadcast(static_cast<uint32_t>(o.bits >> (32 * part)), buffer_);
    }
  }
  uint32_t operator[](int lane) const { return values_[lane]; }

 private:
  const uint32_t* values_;
  alignas(64) uint32_t buffer_[kLanes];
};

template <class T, bool kIsWide = kWidth<T> == 2>
class Input {
 public:
  Input(const Wave& wave, const Instruction& i, int k)
      : column_(wave, i, k, 0, sizeof(T) == 2 ? 16 : 32) {}
  T operator[](int lane) const {
    if constexpr (sizeof(T) == 2) {
      return std::bit_cast<T>(static_cast<uint16_t>(column_[lane]));
    } else {
      return std::bit_cast<T>(column_[lane]);
    }
  }

 private:
  Column column_;
};

template <class T>
class Input<T, true> {
 public:
  Input(const Wave& wave, const Instruction& i, int k)
      : low_(wave, i, k, 0, 64), high_(wave, i, k, 1, 64) {}
  T operator[](int lane) const {
    return std::bit_cast<T>(low_[lane] | uint64_t{high_[lane]} << 32);
  }

 private:
  Column low_, high_;
};

inline void StoreLanes(uint32_t* to, const uint32_t* values, uint64_t lanes) {
  if (lanes == ~uint64_t{0}) {
    std::memcpy(to, values, sizeof(Row));
    return;
  }
  for (int l = 0; l < kLanes; ++l) to[l] = (lanes >> l & 1) != 0 ? values[l] : to[l];
}

// A result of 32 bits (`bits` of them) with clamp, factor and SDWA's selection.
void StoreModified(Wave* wave, const Instruction& instruction, const uint32_t* values,
                   bool is_float, int bits, uint64_t lanes);

template <class R>
void Store(Wave& wave, const Instruction& i, const R* result) {
  const uint64_t lanes = i.plain ? wave.exec() : WrittenLanes(wave, i);
  const int to = i.operand[0].index;
  alignas(64) uint32_t words[kLanes];
  if constexpr (kWidth<R> == 2) {
    for (int part = 0; part < 2; ++part) {
      for (int l = 0; l < kLanes; ++l) {
        words[l] = static_cast<uint32_t>(std::bit_cast<uint64_t>(result[l]) >> (32 * part));
      }
      StoreLanes(wave.v(to + part), words, lanes);
    }
  } else if constexpr (std::is_same_v<R, KeptHalf>) {
    const bool high = (i.half >> (i.count - 1) & 1) != 0;
    const uint32_t* const old = wave.v(to);
    for (int l = 0; l < kLanes; ++l) {
      words[l] = high ? (old[l] & 0xffffu) | uint32_t{result[l].bits} << 16
                      : (old[l] & 0xffff0000u) | result[l].bits;
    }
    StoreLanes(wave.v(to), words, lanes);
  } else {
    if constexpr (sizeof(R) == 2) {
      for (int l = 0; l < kLanes; ++l) words[l] = std::bit_cast<uint16_t>(result[l]);
    } else {
      std::memcpy(words, result, sizeof(words));
    }
    if (i.plain) {
      StoreLanes(wave.v(to), words, lanes);
    } else {
      StoreModified(&wave, i, words, std::is_same_v<R, float>, sizeof(R) == 2 ? 16 : 32, lanes);
    }
  }
}

// Instructions of lanes. kFirst: the operand that the function's first value is; 0 is the
// destination's old value, which then comes last.
template <class F, bool kAccumulates, class R, class... A>
struct LaneFunction {
  template <size_t... kIndex>
  [[gnu::always_inline]] static inline void Body(Wave& wave, const Instruction& i,
                                                 std::index_sequence<kIndex...>) {
    alignas(64) R result[kLanes];
    constexpr size_t kLast = sizeof...(A) - 1;
    [&](const auto&... input) __attribute__((always_inline)) {
      for (int l = 0; l < kLanes; ++l) result[l] = F{}(input[l]...);
    }
    (Input<A>(wave, i, kAccumulates && kIndex == kLast ? 0 : static_cast<int>(kIndex) + 1)...);
    Store(wave, i, result);
  }
  static void Run(Wave& wave, const Instruction& i) {
    Body(wave, i, std::index_sequence_for<A...>{});
  }
#if defined(TESSERA_GFX942_WIDE)
  TESSERA_GFX942_WIDE static void RunWide(Wave& wave, const Instruction& i) {
    Body(wave, i, std::index_sequence_for<A...>{});
  }
#endif
};

// Whether this machine runs what is compiled for wide vectors.
inline bool HasWideVectors() {
#if defined(TESSERA_GFX942_WIDE)
  static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has;
#else
  return false;
#endif
}

template <class Lane>
Function Pick() {
#if defined(TESSERA_GFX942_WIDE)
  if (HasWideVectors()) return &Lane::RunWide;
#endif
  return &Lane::Run;
}

template <class R, class... A>
constexpr uint32_t LaneModifiers() {
  uint32_t modifiers = 0;
  if constexpr ((kIsFloat<A> || ...)) modifiers |= kModifierSign;
  if constexpr (((kWidth<A> == 1) && ...) && kWidth<R> == 1) {
    modifiers |= kModifierExchange | kModifierSelect;
    if constexpr (std::is_same_v<R, float>) modifiers |= kModifierClamp | kModifierFactor;
  }
  if constexpr (std::is_same_v<R, KeptHalf>) {
    modifiers = kModifierSign | kModifierHalf;
  }
  return modifiers;
}

template <bool kAccumulates, class F, class R, class... A>
void AddLaneFunction(OpcodeTable* table, const char* name, uint32_t more, R (F::*)(A...) const) {
  std::vector<OperandType> operands = {{Role::kVector, kWidth<R>, kNumber<R>}};
  (operands.push_back({Role::kSource, kWidth<A>, kNumber<A>}), ...);
  if (kAccumulates) operands.pop_back();
  table->Add(name, Pick<LaneFunction<F, kAccumulates, R, A...>>(), std::move(operands),
             LaneModifiers<R, A...>() | more);
}

template <class F>
void AddLanes(OpcodeTable* table, const char* name, F, uint32_t more = 0) {
  AddLaneFunction<false, F>(table, name, more, &F::operator());
}
// The function's last value is the destination's.
template <class F>
void AddAccumulating(OpcodeTable* table, const char* name, F) {
  AddLaneFunction<true, F>(table, name, 0, &F::operator());
}

}  // namespace tessera::gfx942
