// vLLM's names and variables, for those who come from there: what they chose there, as of its pull
// request 24648 (September 2025), which parted the portable backend from ROCm's own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/environment.h"
#include "tessera/device.h"
#include "tessera/result.h"

namespace tessera {

// Whether it is one of vLLM's names for a backend, the later ones included; they are upper case.
bool IsVllmName(std::string_view name);

// Whether one of the variables is set that choose a backend in vLLM.
bool HasVllmChoice(const Environment& environment);

struct VllmChoice {
  std::string backend;  // Tessera's name; "auto" if vLLM takes what the platform has by default
  std::vector<std::string> warnings;
};

// What vLLM chooses on this device with this name (or "" for none) and these variables:
//
//   AMD     VLLM_ROCM_USE_AITER with VLLM_ROCM_USE_AITER_MHA (on by default) on gfx9: aiter,
//           whatever the name; VLLM_USE_AITER_UNIFIED_ATTENTION with VLLM_ROCM_USE_AITER, or
//           VLLM_V1_USE_PREFILL_DECODE_ATTENTION, or the name ROCM_ATTN: rocm; else portable
//   NVIDIA  TRITON_ATTN: portable; else the platform's default
//   Intel   TRITON_ATTN: portable; FLASH_ATTN or none: the default; other names are refused
//   CPU     the CPU's backend, whatever the name
//
// Names that came to vLLM later (ROCM_AITER_FA as a choice, ROCM_AITER_UNIFIED_ATTN) choose what
// they choose there. `device.features` holds "aiter" if AITER is installed. Errors: unknown
// names, AITER asked for and not installed, kernels that Tessera has no counterpart of.
Result<VllmChoice> ChooseAsVllm(std::string_view name, const Environment& environment,
                                const DeviceInfo& device);

}  // namespace tessera
