#include "attention/variable_warnings.h"

#include <limits>
#include <string_view>

#include "base/edit_distance.h"

namespace tessera {
namespace {

struct Variable {
  std::string_view name;
  std::string_view instead = "";  // why it has no effect; "": it has one, or is no matter of ours
};

constexpr Variable kVariables[] = {
    {"TESSERA_ATTENTION_BACKEND"},
    {"VLLM_ATTENTION_BACKEND"},
    {"VLLM_ROCM_USE_AITER"},
    {"VLLM_ROCM_USE_AITER_MHA"},
    {"VLLM_USE_AITER_UNIFIED_ATTENTION"},
    {"VLLM_ROCM_USE_AITER_UNIFIED_ATTENTION"},
    {"VLLM_V1_USE_PREFILL_DECODE_ATTENTION"},
    {"VLLM_KV_CACHE_LAYOUT", "every backend reads every order of the cache's axes"},
    {"VLLM_BATCH_INVARIANT", "use --batch-invariant"},
    {"VLLM_USE_V1", "there is one engine"},
    {"VLLM_ROCM_CUSTOM_PAGED_ATTN", "vLLM has removed it too"},
    {"VLLM_USE_TRITON_FLASH_ATTN", "vLLM has removed it too"},
    {"VLLM_ROCM_SHUFFLE_KV_CACHE_LAYOUT", "no backend keeps the cache in that layout"},
    {"VLLM_ROCM_FP8_MFMA_PAGE_ATTN", "no backend has that kernel"},
    {"VLLM_FLASH_ATTN_VERSION", "no backend has that kernel"},
    {"VLLM_TRITON_USE_TD", "no backend has that kernel"},
    {"VLLM_CPU_ATTN_SPLIT_KV", "long contexts are always divided among threads"},
    {"VLLM_CPU_KVCACHE_SPACE", "use --kv-cache-size"},
    {"VLLM_CPU_OMP_THREADS_BIND", "use --threads"},
    // Neighbours of those above that have nothing to do with attention's choice.
    {"VLLM_ROCM_USE_AITER_FP4BMM"},
    {"VLLM_ROCM_USE_AITER_FP8BMM"},
    {"VLLM_ROCM_USE_AITER_LINEAR"},
    {"VLLM_ROCM_USE_AITER_MLA"},
    {"VLLM_ROCM_USE_AITER_MOE"},
    {"VLLM_ROCM_USE_AITER_PAGED_ATTN"},
    {"VLLM_ROCM_USE_AITER_RMSNORM"},
    {"VLLM_ROCM_USE_SKINNY_GEMM"},
    {"VLLM_USE_AITER_TRITON_ROPE"},
};

// So many characters to a slip of the fingers: more slips make another word.
constexpr int kCharactersPerSlip = 8;

}  // namespace

std::vector<std::string> AttentionVariableWarnings(const Environment& environment) {
  std::vector<std::string> warnings;
  for (const char* prefix : {"TESSERA_", "VLLM_"}) {
    for (const std::string& name : environment.NamesWithPrefix(prefix)) {
      const Variable* nearest = nullptr;
      int distance = std::numeric_limits<int>::max();
      for (const Variable& variable : kVariables) {
        const int d = EditDistance(name, variable.name);
        if (d < distance) {
          distance = d;
          nearest = &variable;
        }
      }
      if (distance == 0) {
        if (!nearest->instead.empty()) {
          warnings.push_back(name + " has no effect: " + std::string(nearest->instead));
        }
      } else if (distance <= static_cast<int>(name.size()) / kCharactersPerSlip) {
        warnings.push_back(name + " is not known and has no effect; " + std::string(nearest->name) +
                           " is probably meant");
      }
    }
  }
  return warnings;
}

}  // namespace tessera
