// Branches, barriers, and loads into scalar registers.
#include <cstring>

#include "device/gpu/gfx942/memory_access.h"
#include "device/gpu/gfx942/opcode_table.h"

namespace tessera::gfx942 {
namespace {

template <class F>
void AddBranch(OpcodeTable* table, const char* name, F) {
  table->Add(name,
             [](Wave& wave, const Instruction& i) {
               if (F{}(wave)) wave.next = i.target;
             },
             {});
}

template <int kWords>
void Load(Wave& wave, const Instruction& i) {
  const uint64_t address = Scalar64(wave, i.operand[1]) + Scalar(wave, i.operand[2]) +
                           static_cast<uint64_t>(int64_t{i.offset});
  if (address % 4 != 0) throw Fault{"a scalar load from an address that is no multiple of 4"};
  CheckGlobal(wave, address, 4 * kWords, false);
  std::memcpy(&wave.s[i.operand[0].index], Pointer(address), 4 * kWords);
}

void Nothing(Wave&, const Instruction&) {}

}  // namespace

void AddScalarControl(OpcodeTable* table) {
  const OperandType number{Role::kConstant, 1};
  // What orders memory here is the order of execution; caches there are none.
  table->Add("s_waitcnt", Nothing, {}, kModifierCounter);
  table->Add("buffer_inv", Nothing, {}, kModifierCache);
  table->Add("buffer_wbl2", Nothing, {}, kModifierCache);
  table->Add("s_dcache_wb", Nothing, {});
  table->Add("s_dcache_inv", Nothing, {});
  table->Add("s_icache_inv", Nothing, {});
  table->Add("v_nop", Nothing, {});
  for (const char* name : {"s_nop", "s_sleep", "s_setprio", "s_inst_prefetch"}) {
    table->Add(name, Nothing, {number});
  }
  table->Add("s_endpgm", [](Wave& wave, const Instruction&) { wave.state = WaveState::kEnded; },
             {});
  table->Add("s_barrier",
             [](Wave& wave, const Instruction&) { wave.state = WaveState::kAtBarrier; }, {});

  AddBranch(table, "s_branch", [](const Wave&) { return true; });
  AddBranch(table, "s_cbranch_scc0", [](const Wave& w) { return !w.scc; });
  AddBranch(table, "s_cbranch_scc1", [](const Wave& w) { return w.scc; });
  AddBranch(table, "s_cbranch_vccz", [](const Wave& w) { return w.vcc() == 0; });
  AddBranch(table, "s_cbranch_vccnz", [](const Wave& w) { return w.vcc() != 0; });
  AddBranch(table, "s_cbranch_execz", [](const Wave& w) { return w.exec() == 0; });
  AddBranch(table, "s_cbranch_execnz", [](const Wave& w) { return w.exec() != 0; });

  const OperandType address{Role::kScalar, 2}, offset{Role::kScalarSource, 1};
  const auto load = [&](const char* name, Function run, uint8_t words) {
    table->Add(name, run, {{Role::kScalar, words}, address, offset}, kModifierOffset);
  };
  load("s_load_dword", Load<1>, 1);
  load("s_load_dwordx2", Load<2>, 2);
  load("s_load_dwordx4", Load<4>, 4);
  load("s_load_dwordx8", Load<8>, 8);
  load("s_load_dwordx16", Load<16>, 16);
  // The address of the next instruction; constants lie at a distance from it.
  table->Add("s_getpc_b64",
             [](Wave& wave, const Instruction& i) {
               wave.SetScalar64(i.operand[0].index, wave.group->code_base + i.address + 4);
             },
             {{Role::kScalar, 2}});
}

}  // namespace tessera::gfx942
