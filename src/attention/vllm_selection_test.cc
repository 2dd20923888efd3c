// Every row is what vLLM does as of its pull request 24648, device by device.
#include "attention/vllm_selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace tessera {
namespace {

using ::testing::HasSubstr;

DeviceInfo Device(const std::string& name) {
  DeviceInfo device;
  device.name = name;
  if (name.starts_with("gfx")) {
    device.kind = DeviceKind::kHip;
    device.arch = name.substr(0, name.find('+'));
    if (name.ends_with("+aiter")) device.features = {"aiter"};
  } else if (name == "H100") {
    device.kind = DeviceKind::kCuda;
    device.arch = "sm_90";
  } else if (name == "xpu") {
    device.kind = DeviceKind::kXpu;
  }
  return device;
}

using VariableMap = std::map<std::string, std::string, std::less<>>;

// Letters: A, M, U, L, S for VLLM_ROCM_USE_AITER, .._MHA, VLLM_USE_AITER_UNIFIED_ATTENTION, its
// later name, VLLM_V1_USE_PREFILL_DECODE_ATTENTION; lower case sets them to 0.
Environment Variables(const std::string& letters) {
  VariableMap variables;
  for (const char letter : letters) {
    const char* name = "";
    switch (letter | 0x20) {
      case 'a':
        name = "VLLM_ROCM_USE_AITER";
        break;
      case 'm':
        name = "VLLM_ROCM_USE_AITER_MHA";
        break;
      case 'u':
        name = "VLLM_USE_AITER_UNIFIED_ATTENTION";
        break;
      case 'l':
        name = "VLLM_ROCM_USE_AITER_UNIFIED_ATTENTION";
        break;
      case 's':
        name = "VLLM_V1_USE_PREFILL_DECODE_ATTENTION";
        break;
      default:
        ADD_FAILURE() << letter;
    }
    variables[name] = (letter & 0x20) != 0 ? "0" : "1";
  }
  return Environment(variables);
}

struct Row {
  const char* device;
  const char* variables;
  const char* name;
  const char* outcome;       // a backend; or "!" and a part of the error
  const char* warning = "";  // a part of one; "": none at all
};

const Row kRows[] = {
    // MI300X with AITER. Nothing said, or said with switches alone:
    {"gfx942+aiter", "", "", "portable"},
    {"gfx942+aiter", "A", "", "aiter"},
    {"gfx942+aiter", "a", "", "portable"},
    {"gfx942+aiter", "AM", "", "aiter"},
    {"gfx942+aiter", "Am", "", "portable"},
    {"gfx942+aiter", "M", "", "portable"},
    {"gfx942+aiter", "U", "", "portable"},
    {"gfx942+aiter", "L", "", "portable"},
    {"gfx942+aiter", "S", "", "rocm"},
    {"gfx942+aiter", "s", "", "portable"},
    {"gfx942+aiter", "AU", "", "aiter"},
    {"gfx942+aiter", "AmU", "", "rocm"},
    {"gfx942+aiter", "AmL", "", "rocm"},
    {"gfx942+aiter", "Amu", "", "portable"},
    {"gfx942+aiter", "AS", "", "aiter"},
    {"gfx942+aiter", "AmS", "", "rocm"},
    {"gfx942+aiter", "AmUS", "", "rocm"},
    {"gfx942+aiter", "US", "", "rocm"},
    {"gfx942+aiter", "AMUS", "", "aiter"},
    // Names; the switches of the first rule outweigh them.
    {"gfx942+aiter", "", "TRITON_ATTN_VLLM_V1", "portable"},
    {"gfx942+aiter", "", "TRITON_ATTN", "portable"},
    {"gfx942+aiter", "A", "TRITON_ATTN_VLLM_V1", "aiter", "outweighs TRITON_ATTN_VLLM_V1"},
    {"gfx942+aiter", "S", "TRITON_ATTN_VLLM_V1", "rocm"},
    {"gfx942+aiter", "AmU", "TRITON_ATTN_VLLM_V1", "rocm"},
    {"gfx942+aiter", "", "ROCM_ATTN_VLLM_V1", "rocm"},
    {"gfx942+aiter", "", "ROCM_ATTN", "rocm"},
    {"gfx942+aiter", "A", "ROCM_ATTN_VLLM_V1", "aiter", "outweighs ROCM_ATTN_VLLM_V1"},
    {"gfx942+aiter", "Am", "ROCM_ATTN_VLLM_V1", "rocm"},
    {"gfx942+aiter", "s", "ROCM_ATTN_VLLM_V1", "rocm"},
    {"gfx942+aiter", "", "ROCM_AITER_FA", "aiter"},
    {"gfx942+aiter", "A", "ROCM_AITER_FA", "aiter"},
    {"gfx942+aiter", "S", "ROCM_AITER_FA", "aiter"},
    {"gfx942+aiter", "", "ROCM_AITER_UNIFIED_ATTN", "rocm"},
    {"gfx942+aiter", "", "FLASH_ATTN", "portable", "FLASH_ATTN chooses nothing on AMD"},
    {"gfx942+aiter", "", "FLEX_ATTENTION", "portable", "chooses nothing on AMD"},
    {"gfx942+aiter", "S", "FLASHINFER", "rocm"},
    {"gfx942+aiter", "", "CPU_ATTN", "portable", "chooses nothing on AMD"},
    {"gfx942+aiter", "", "ROCM_ATN", "!not one of vLLM's names (TRITON_ATTN, "},
    {"gfx942+aiter", "", "portable", "!TESSERA_ATTENTION_BACKEND"},
    // MI300X without AITER: what needs it says so.
    {"gfx942", "", "", "portable"},
    {"gfx942", "A", "", "!VLLM_ROCM_USE_AITER=1 asks for AITER's kernels, but"},
    {"gfx942", "A", "ROCM_ATTN_VLLM_V1", "!VLLM_ROCM_USE_AITER=1"},
    {"gfx942", "Am", "", "portable"},
    {"gfx942", "AmU", "", "!VLLM_USE_AITER_UNIFIED_ATTENTION=1 asks"},
    {"gfx942", "AmUS", "", "rocm"},
    {"gfx942", "S", "", "rocm"},
    {"gfx942", "U", "", "portable"},
    {"gfx942", "", "ROCM_ATTN_VLLM_V1", "rocm"},
    {"gfx942", "", "ROCM_AITER_FA", "!ROCM_AITER_FA asks"},
    {"gfx942", "", "ROCM_AITER_UNIFIED_ATTN", "!ROCM_AITER_UNIFIED_ATTN asks"},
    {"gfx942", "", "TRITON_ATTN", "portable"},
    // The other CDNA generations follow the same rules.
    {"gfx90a+aiter", "A", "", "aiter"},
    {"gfx950+aiter", "A", "", "aiter"},
    {"gfx942:sramecc+:xnack-", "S", "", "rocm"},
    // RDNA: the first rule is not for it.
    {"gfx1100", "", "", "portable"},
    {"gfx1100", "A", "", "portable"},
    {"gfx1100", "AM", "ROCM_ATTN", "rocm"},
    {"gfx1100", "S", "", "rocm"},
    {"gfx1100", "AU", "", "!AITER is not installed"},
    {"gfx1100+aiter", "AU", "", "rocm"},
    {"gfx1100+aiter", "A", "", "portable"},
    {"gfx1100+aiter", "", "ROCM_AITER_FA", "!needs a GPU of gfx90a, gfx942 or gfx950"},
    {"gfx1100", "", "TRITON_ATTN_VLLM_V1", "portable"},
    {"gfx1100", "", "ROCM_ATTN_VLLM_V1", "rocm"},
    // H100.
    {"H100", "", "", "auto"},
    {"H100", "", "TRITON_ATTN_VLLM_V1", "portable"},
    {"H100", "", "TRITON_ATTN", "portable"},
    {"H100", "", "FLASH_ATTN_VLLM_V1", "auto", "by default"},
    {"H100", "", "ROCM_ATTN_VLLM_V1", "auto", "chooses nothing on NVIDIA"},
    {"H100", "", "ROCM_AITER_FA", "auto", "chooses nothing on NVIDIA"},
    {"H100", "", "CPU_ATTN", "auto", "chooses nothing on NVIDIA"},
    {"H100", "", "FLASHINFER", "!no counterpart of vLLM's FLASHINFER"},
    {"H100", "", "FLEX_ATTENTION", "!no counterpart"},
    {"H100", "A", "", "auto", "VLLM_ROCM_USE_AITER has an effect on AMD GPUs only"},
    {"H100", "S", "TRITON_ATTN", "portable", "and this device is cuda"},
    {"H100", "", "triton_attn", "!not one of vLLM's names"},
    // A CPU has one backend in vLLM.
    {"cpu", "", "", "auto"},
    {"cpu", "", "CPU_ATTN", "auto"},
    {"cpu", "", "TORCH_SDPA", "auto"},
    {"cpu", "", "TRITON_ATTN", "auto", "cannot be had on a CPU"},
    {"cpu", "", "ROCM_ATTN_VLLM_V1", "auto", "cannot be had on a CPU"},
    {"cpu", "", "FLASHINFER", "auto", "cannot be had on a CPU"},
    {"cpu", "AMUS", "", "auto", "and this device is cpu"},
    {"cpu", "", "CPU_ATN", "!not one of vLLM's names"},
    // Intel GPUs.
    {"xpu", "", "", "auto"},
    {"xpu", "", "TRITON_ATTN_VLLM_V1", "portable"},
    {"xpu", "", "FLASH_ATTN_VLLM_V1", "auto", "by default"},
    {"xpu", "", "ROCM_ATTN_VLLM_V1", "!cannot be chosen on Intel GPUs"},
    {"xpu", "", "FLASHINFER", "!cannot be chosen on Intel GPUs"},
    {"xpu", "A", "", "auto", "has an effect on AMD GPUs only"},
};

TEST(VllmSelection, EveryRow) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(std::string(row.device) + " [" + row.variables + "] " + row.name);
    const auto choice = ChooseAsVllm(row.name, Variables(row.variables), Device(row.device));
    if (row.outcome[0] == '!') {
      ASSERT_FALSE(choice.ok()) << choice->backend;
      EXPECT_THAT(choice.error().message, HasSubstr(row.outcome + 1));
      continue;
    }
    ASSERT_TRUE(choice.ok()) << choice.error().message;
    EXPECT_EQ(choice->backend, row.outcome);
    if (row.warning[0] == '\0') {
      EXPECT_THAT(choice->warnings, ::testing::IsEmpty());
    } else {
      EXPECT_THAT(choice->warnings, ::testing::Contains(HasSubstr(row.warning)));
    }
  }
}

TEST(VllmSelection, SwitchesAreOnForOneAndTrueOnly) {
  const struct {
    const char* value;
    const char* outcome;
    bool warns;
  } cases[] = {{"1", "rocm", false},     {"True", "rocm", false},      {"TRUE", "rocm", false},
               {"0", "portable", false}, {"false", "portable", false}, {"yes", "portable", true},
               {"on", "portable", true}, {"2", "portable", true},      {"", "portable", false}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.value);
    const Environment environment(VariableMap{{"VLLM_V1_USE_PREFILL_DECODE_ATTENTION", c.value}});
    const auto choice = ChooseAsVllm("", environment, Device("gfx942"));
    ASSERT_TRUE(choice.ok());
    EXPECT_EQ(choice->backend, c.outcome);
    EXPECT_EQ(choice->warnings.size(), c.warns ? 1u : 0u);
  }
}

TEST(VllmSelection, NamesAndVariablesThatChoose) {
  EXPECT_TRUE(IsVllmName("ROCM_ATTN"));
  EXPECT_FALSE(IsVllmName(""));
  EXPECT_FALSE(IsVllmName("portable"));
  EXPECT_FALSE(HasVllmChoice(Environment(VariableMap{{"VLLM_HOST_IP", "1"}})));
  EXPECT_FALSE(HasVllmChoice(Environment(VariableMap{{"VLLM_ATTENTION_BACKEND", ""}})));
  EXPECT_TRUE(HasVllmChoice(Environment(VariableMap{{"VLLM_ATTENTION_BACKEND", "x"}})));
  EXPECT_TRUE(HasVllmChoice(Variables("s")));
}

}  // namespace
}  // namespace tessera
