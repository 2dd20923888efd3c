#include "attention/vllm_names.h"

namespace tessera {

std::string FromVllmName(std::string_view name) {
  constexpr struct {
    std::string_view vllm;
    const char* tessera;
  } kNames[] = {
      {"TRITON_ATTN", "portable"},
      {"TRITON_ATTN_VLLM_V1", "portable"},
      {"ROCM_ATTN", "rocm"},
      {"ROCM_ATTN_VLLM_V1", "rocm"},
      {"ROCM_AITER_FA", "aiter"},
      {"ROCM_AITER_FA_VLLM_V1", "aiter"},
      {"ROCM_AITER_UNIFIED_ATTN", "aiter"},
      {"CPU_ATTN", "auto"},
  };
  for (const auto& entry : kNames) {
    if (entry.vllm == name) return entry.tessera;
  }
  return std::string(name);
}

}  // namespace tessera
