// vLLM's names for attention backends, for those who come from there.
#pragma once

#include <string>
#include <string_view>

namespace tessera {

// Tessera's name for one of vLLM's (TRITON_ATTN, TRITON_ATTN_VLLM_V1 -> portable; ROCM_ATTN,
// ROCM_ATTN_VLLM_V1 -> rocm; ROCM_AITER_FA, ROCM_AITER_UNIFIED_ATTN -> aiter; CPU_ATTN -> auto).
// Anything else comes back as it is.
std::string FromVllmName(std::string_view name);

}  // namespace tessera
