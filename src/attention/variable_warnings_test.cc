#include "attention/variable_warnings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> Warnings(const char* name) {
  const std::map<std::string, std::string, std::less<>> variables = {{name, "1"}};
  return AttentionVariableWarnings(Environment(variables));
}

TEST(VariableWarnings, MisspelledNamesSayWhatIsMeant) {
  const struct {
    const char* set;
    const char* meant;
  } cases[] = {
      {"TESSERA_ATENTION_BACKEND", "TESSERA_ATTENTION_BACKEND"},
      {"TESSERA_ATTENTION_BACKENDS", "TESSERA_ATTENTION_BACKEND"},
      {"VLLM_ATTENTION_BACKENED", "VLLM_ATTENTION_BACKEND"},
      {"VLLM_ROCM_USE_ATIER", "VLLM_ROCM_USE_AITER"},
      {"VLLM_USE_AITER_UNIFIED_ATENTON", "VLLM_USE_AITER_UNIFIED_ATTENTION"},
      {"VLLM_V1_USE_PREFILL_DECODE_ATENTION", "VLLM_V1_USE_PREFILL_DECODE_ATTENTION"},
      {"VLLM_KV_CACHE_LAYOUTS", "VLLM_KV_CACHE_LAYOUT"},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(Warnings(c.set),
                ElementsAre(std::string(c.set) + " is not known and has no effect; " + c.meant +
                            " is probably meant"));
  }
}

TEST(VariableWarnings, DeadOnesSayWhatToUseInstead) {
  EXPECT_THAT(Warnings("VLLM_KV_CACHE_LAYOUT"), ElementsAre(HasSubstr("every order")));
  EXPECT_THAT(Warnings("VLLM_BATCH_INVARIANT"), ElementsAre(HasSubstr("--batch-invariant")));
  EXPECT_THAT(Warnings("VLLM_ROCM_CUSTOM_PAGED_ATTN"), ElementsAre(HasSubstr("removed")));
}

TEST(VariableWarnings, OthersAreNoMatterOfOurs) {
  for (const char* name :
       {"TESSERA_ATTENTION_BACKEND", "TESSERA_MODEL", "VLLM_ATTENTION_BACKEND",
        "VLLM_ROCM_USE_AITER", "VLLM_ROCM_USE_AITER_MOE", "VLLM_ROCM_USE_AITER_MLA",
        "VLLM_LOGGING_LEVEL", "VLLM_USE_MOE", "VLLM_HOST_IP", "PATH", "VLLM_", "TESSERA_"}) {
    EXPECT_THAT(Warnings(name), IsEmpty()) << name;
  }
}

}  // namespace
}  // namespace tessera
