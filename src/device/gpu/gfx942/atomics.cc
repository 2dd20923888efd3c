// Atomic operations on global memory and LDS. Workgroups run in several threads, so that those on
// global memory are atomic operations of the host.
#include <algorithm>
#include <bit>
#include <cstring>

#include "device/gpu/gfx942/memory_access.h"
#include "device/gpu/gfx942/opcode_table.h"

namespace tessera::gfx942 {
namespace {

template <class T>
T Register(const Wave& wave, int index, int lane) {
  if constexpr (sizeof(T) == 8) {
    return static_cast<T>(wave.v(index)[lane] | uint64_t{wave.v(index + 1)[lane]} << 32);
  } else {
    return static_cast<T>(wave.v(index)[lane]);
  }
}
template <class T>
void SetRegister(Wave& wave, int index, int lane, T value) {
  const auto bits = static_cast<uint64_t>(value);
  wave.v(index)[lane] = static_cast<uint32_t>(bits);
  if constexpr (sizeof(T) == 8) wave.v(index + 1)[lane] = static_cast<uint32_t>(bits >> 32);
}

// F: (what is there, data, what is compared with) to what will be there.
template <class F, class T>
T Exchange(T* place, T data, T compared) {
  T old = __atomic_load_n(place, __ATOMIC_SEQ_CST);
  while (!__atomic_compare_exchange_n(place, &old, F{}(old, data, compared), false,
                                      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
  }
  return old;
}

// Operands: [destination,] address, data, base. A comparison's data are two: new, then compared.
template <class F, class T, bool kReturns, bool kCompares, bool kFlat>
void Global(Wave& wave, const Instruction& i) {
  constexpr int kFirst = kReturns ? 1 : 0;
  Addresses addresses;
  ComputeAddresses(wave, i, kFirst, kFlat ? -1 : kFirst + 2, &addresses);
  CheckGlobal(wave, addresses, wave.exec(), sizeof(T), true);
  const int data = i.operand[kFirst + 1].index;
  ForActiveLanes(wave.exec(), [&](int l) {
    const uint64_t address = addresses[static_cast<size_t>(l)];
    if (address % sizeof(T) != 0) throw Fault{"an atomic at an address that is not aligned"};
    const T value = Register<T>(wave, data, l);
    const T compared =
        kCompares ? Register<T>(wave, data + static_cast<int>(sizeof(T) / 4), l) : T{};
    const T old = Exchange<F>(reinterpret_cast<T*>(Pointer(address)), value, compared);
    if (kReturns) SetRegister(wave, i.operand[0].index, l, old);
  });
}

// Operands: [destination,] address, data. Waves of a workgroup run one after another.
template <class F, class T, bool kReturns>
void Local(Wave& wave, const Instruction& i) {
  constexpr int kFirst = kReturns ? 1 : 0;
  ForActiveLanes(wave.exec(), [&](int l) {
    const uint64_t address = wave.v(i.operand[kFirst].index)[l] + static_cast<uint64_t>(i.offset);
    if (address % sizeof(T) != 0) throw Fault{"an atomic at an address that is not aligned"};
    uint8_t* const place = wave.group->lds.Atomic(address, sizeof(T), wave.id);
    if (place == nullptr) ThrowLdsFault(wave, address, sizeof(T), false);
    T old;
    std::memcpy(&old, place, sizeof(T));
    const T value = F{}(old, Register<T>(wave, i.operand[kFirst + 1].index, l), T{});
    std::memcpy(place, &value, sizeof(T));
    if (kReturns) SetRegister(wave, i.operand[0].index, l, old);
  });
}

template <class F, class T, bool kCompares = false>
void AddGlobal(OpcodeTable* table, const std::string& name) {
  constexpr uint8_t kWidth = sizeof(T) / 4;
  const OperandType to{Role::kVector, kWidth}, base{Role::kBase, 2};
  const OperandType data{Role::kVector, kCompares ? 2 * kWidth : kWidth};
  const OperandType address{Role::kAddress, 2}, flat{Role::kVector, 2};
  const uint32_t modifiers = kModifierOffset | kModifierCache;
  table->Add("global_" + name, Global<F, T, false, kCompares, false>, {address, data, base},
             modifiers);
  table->Add("global_" + name + " sc0", Global<F, T, true, kCompares, false>,
             {to, address, data, base}, modifiers);
  table->Add("flat_" + name, Global<F, T, false, kCompares, true>, {flat, data}, modifiers);
  table->Add("flat_" + name + " sc0", Global<F, T, true, kCompares, true>, {to, flat, data},
             modifiers);
}

// `type`: "u32"; `returning`: the name with a result has "rtn" before the type.
template <class F, class T>
void AddLocal(OpcodeTable* table, const std::string& name, const std::string& type) {
  constexpr uint8_t kWidth = sizeof(T) / 4;
  const OperandType data{Role::kVector, kWidth}, address{Role::kVector, 1};
  table->Add("ds_" + name + "_" + type, Local<F, T, false>, {address, data}, kModifierOffset);
  table->Add("ds_" + name + "_rtn_" + type, Local<F, T, true>, {data, address, data},
             kModifierOffset);
}

template <class T>
using Signed = std::make_signed_t<T>;

template <class T>
void AddIntegers(OpcodeTable* t, const std::string& wide, const std::string& bits) {
  using S = Signed<T>;
  using Add = decltype([](T a, T b, T) { return a + b; });
  using Subtract = decltype([](T a, T b, T) { return a - b; });
  using Min = decltype([](T a, T b, T) { return std::min(a, b); });
  using Max = decltype([](T a, T b, T) { return std::max(a, b); });
  using SignedMin = decltype([](T a, T b, T) { return S(a) < S(b) ? a : b; });
  using SignedMax = decltype([](T a, T b, T) { return S(a) > S(b) ? a : b; });
  using And = decltype([](T a, T b, T) { return a & b; });
  using Or = decltype([](T a, T b, T) { return a | b; });
  using Xor = decltype([](T a, T b, T) { return a ^ b; });
  using Swap = decltype([](T, T b, T) { return b; });
  using Compare = decltype([](T a, T b, T c) { return a == c ? b : a; });
  AddGlobal<Add, T>(t, "atomic_add" + wide);
  AddGlobal<Subtract, T>(t, "atomic_sub" + wide);
  AddGlobal<Min, T>(t, "atomic_umin" + wide);
  AddGlobal<Max, T>(t, "atomic_umax" + wide);
  AddGlobal<SignedMin, T>(t, "atomic_smin" + wide);
  AddGlobal<SignedMax, T>(t, "atomic_smax" + wide);
  AddGlobal<And, T>(t, "atomic_and" + wide);
  AddGlobal<Or, T>(t, "atomic_or" + wide);
  AddGlobal<Xor, T>(t, "atomic_xor" + wide);
  AddGlobal<Swap, T>(t, "atomic_swap" + wide);
  AddGlobal<Compare, T, true>(t, "atomic_cmpswap" + wide);
  AddLocal<Add, T>(t, "add", "u" + bits);
  AddLocal<Subtract, T>(t, "sub", "u" + bits);
  AddLocal<Min, T>(t, "min", "u" + bits);
  AddLocal<Max, T>(t, "max", "u" + bits);
  AddLocal<SignedMin, T>(t, "min", "i" + bits);
  AddLocal<SignedMax, T>(t, "max", "i" + bits);
  AddLocal<And, T>(t, "and", "b" + bits);
  AddLocal<Or, T>(t, "or", "b" + bits);
  AddLocal<Xor, T>(t, "xor", "b" + bits);
}

}  // namespace

void AddAtomics(OpcodeTable* table) {
  AddIntegers<uint32_t>(table, "", "32");
  AddIntegers<uint64_t>(table, "_x2", "64");
  using AddFloat = decltype([](uint32_t a, uint32_t b, uint32_t) {
    return std::bit_cast<uint32_t>(std::bit_cast<float>(a) + std::bit_cast<float>(b));
  });
  using AddDouble = decltype([](uint64_t a, uint64_t b, uint64_t) {
    return std::bit_cast<uint64_t>(std::bit_cast<double>(a) + std::bit_cast<double>(b));
  });
  AddGlobal<AddFloat, uint32_t>(table, "atomic_add_f32");
  AddGlobal<AddDouble, uint64_t>(table, "atomic_add_f64");
  AddLocal<AddFloat, uint32_t>(table, "add", "f32");
  AddLocal<AddDouble, uint64_t>(table, "add", "f64");
}

}  // namespace tessera::gfx942
