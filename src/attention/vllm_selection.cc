#include "attention/vllm_selection.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>

namespace tessera {
namespace {

enum class Family : uint8_t {
  kNone,
  kTriton,
  kRocm,
  kAiterFa,
  kAiterUnified,
  kFlash,
  kCpu,
  kOther
};

constexpr struct {
  std::string_view name;
  Family family;
} kNames[] = {
    {"TRITON_ATTN", Family::kTriton},
    {"TRITON_ATTN_VLLM_V1", Family::kTriton},
    {"ROCM_ATTN", Family::kRocm},
    {"ROCM_ATTN_VLLM_V1", Family::kRocm},
    {"ROCM_AITER_FA", Family::kAiterFa},
    {"ROCM_AITER_FA_VLLM_V1", Family::kAiterFa},
    {"ROCM_AITER_UNIFIED_ATTN", Family::kAiterUnified},
    {"CPU_ATTN", Family::kCpu},
    {"TORCH_SDPA", Family::kCpu},
    {"TORCH_SDPA_VLLM_V1", Family::kCpu},
    {"FLASH_ATTN", Family::kFlash},
    {"FLASH_ATTN_VLLM_V1", Family::kFlash},
    {"FLASHINFER", Family::kOther},
    {"FLASHINFER_VLLM_V1", Family::kOther},
    {"FLEX_ATTENTION", Family::kOther},
    {"TREE_ATTN", Family::kOther},
    {"XFORMERS", Family::kOther},
    {"XFORMERS_VLLM_V1", Family::kOther},
};

constexpr const char* kName = "VLLM_ATTENTION_BACKEND";
constexpr const char* kAiter = "VLLM_ROCM_USE_AITER";
constexpr const char* kMha = "VLLM_ROCM_USE_AITER_MHA";
constexpr const char* kUnified = "VLLM_USE_AITER_UNIFIED_ATTENTION";
constexpr const char* kLaterUnified = "VLLM_ROCM_USE_AITER_UNIFIED_ATTENTION";  // since its 25507
constexpr const char* kSplit = "VLLM_V1_USE_PREFILL_DECODE_ATTENTION";
constexpr std::array kSwitches = {kAiter, kMha, kUnified, kLaterUnified, kSplit};

std::optional<Family> FamilyOf(std::string_view name) {
  if (name.empty()) return Family::kNone;
  for (const auto& entry : kNames) {
    if (entry.name == name) return entry.family;
  }
  return std::nullopt;
}

// vLLM's switches are on for 1 and true, and off for everything else.
struct Switches {
  bool aiter = false, mha = true, unified = false, split = false;
  std::vector<std::string> warnings;
};

bool IsOn(const Environment& environment, const char* variable, bool fallback,
          std::vector<std::string>* warnings) {
  const std::optional<std::string> value = environment.String(variable);
  if (!value) return fallback;
  std::string lower = *value;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  if (lower == "1" || lower == "true") return true;
  if (lower != "0" && lower != "false") {
    warnings->push_back(std::string(variable) + "=" + *value +
                        " counts as off, as in vLLM: only 1 and true switch it on");
  }
  return false;
}

Switches ReadSwitches(const Environment& environment) {
  Switches switches;
  std::vector<std::string>* warnings = &switches.warnings;
  switches.aiter = IsOn(environment, kAiter, false, warnings);
  switches.mha = IsOn(environment, kMha, true, warnings);
  switches.unified = IsOn(environment, kUnified, false, warnings);
  switches.unified = IsOn(environment, kLaterUnified, switches.unified, warnings);
  switches.split = IsOn(environment, kSplit, false, warnings);
  return switches;
}

bool IsGfx9(const DeviceInfo& device) {
  // "gfx942:sramecc+:xnack-" names features after the colon.
  const std::string arch = device.arch.substr(0, device.arch.find(':'));
  return arch == "gfx90a" || arch == "gfx942" || arch == "gfx950";
}

Error NoAiter(const std::string& wish) {
  return Unsupported(wish +
                     " asks for AITER's kernels, but AITER is not installed here: install it, or "
                     "choose portable or auto with --attention-backend");
}

Result<VllmChoice> ChooseOnAmd(std::string_view name, Family family, const Environment& environment,
                               const DeviceInfo& device) {
  const Switches switches = ReadSwitches(environment);
  VllmChoice choice{"portable", switches.warnings};
  const std::string text(name);
  const bool installed = device.Has("aiter");
  if (switches.aiter && switches.mha && IsGfx9(device)) {
    if (!installed) return NoAiter(std::string(kAiter) + "=1");
    if (family != Family::kNone && family != Family::kAiterFa) {
      choice.warnings.push_back(std::string(kAiter) + "=1 outweighs " + text +
                                ", as in vLLM; Tessera's own names outweigh both");
    }
    choice.backend = "aiter";
  } else if (family == Family::kAiterFa) {
    if (!IsGfx9(device)) {
      return Unsupported(text + " needs a GPU of gfx90a, gfx942 or gfx950, but this is " +
                         device.arch + ": choose portable or auto with --attention-backend");
    }
    if (!installed) return NoAiter(text);
    choice.backend = "aiter";
  } else if (switches.split || (switches.aiter && switches.unified) || family == Family::kRocm ||
             family == Family::kAiterUnified) {
    // The unified kernel is not needed if prefill and decode are split.
    const bool by_variable = switches.aiter && switches.unified;
    if (!installed && !switches.split && (by_variable || family == Family::kAiterUnified)) {
      return NoAiter(by_variable ? std::string(kUnified) + "=1" : text);
    }
    choice.backend = "rocm";
  } else if (family != Family::kNone && family != Family::kTriton) {
    choice.warnings.push_back(text + " chooses nothing on AMD GPUs, as in vLLM: portable is taken");
  }
  return choice;
}

// The switches belong to AMD's GPUs.
void WarnOfSwitches(const Environment& environment, const DeviceInfo& device, VllmChoice* choice) {
  for (const char* variable : kSwitches) {
    if (environment.String(variable)) {
      choice->warnings.push_back(std::string(variable) +
                                 " has an effect on AMD GPUs only, and this device is " +
                                 ToString(device.kind));
    }
  }
}

Error NoCounterpart(std::string_view name) {
  return Unsupported("Tessera has no counterpart of vLLM's " + std::string(name) +
                     ": choose auto, or a name that `tessera backends` lists");
}

Result<VllmChoice> ChooseElsewhere(std::string_view name, Family family, const DeviceInfo& device) {
  VllmChoice choice{"auto", {}};
  const auto ignored = [&](const std::string& why) {
    choice.warnings.push_back(std::string(name) + " " + why + ", as in vLLM: auto is taken");
  };
  const bool triton = family == Family::kTriton;
  switch (device.kind) {
    case DeviceKind::kCuda:
      if (family == Family::kOther) return NoCounterpart(name);
      if (triton) choice.backend = "portable";
      if (family == Family::kFlash) ignored("is what the platform has by default");
      if (family == Family::kRocm || family == Family::kAiterFa ||
          family == Family::kAiterUnified || family == Family::kCpu) {
        ignored("chooses nothing on NVIDIA GPUs");
      }
      return choice;
    case DeviceKind::kXpu:
      if (triton) choice.backend = "portable";
      if (triton || family == Family::kNone) return choice;
      if (family != Family::kFlash) {
        return Unsupported(std::string(name) +
                           " cannot be chosen on Intel GPUs, where vLLM refuses it too: choose "
                           "TRITON_ATTN, FLASH_ATTN or auto");
      }
      ignored("is what the platform has by default");
      return choice;
    default:
      if (family != Family::kNone && family != Family::kCpu) {
        ignored("cannot be had on a CPU");
      }
      return choice;
  }
}

}  // namespace

bool IsVllmName(std::string_view name) { return !name.empty() && FamilyOf(name).has_value(); }

bool HasVllmChoice(const Environment& environment) {
  return environment.String(kName).has_value() ||
         std::any_of(kSwitches.begin(), kSwitches.end(), [&](const char* variable) {
           return environment.String(variable).has_value();
         });
}

Result<VllmChoice> ChooseAsVllm(std::string_view name, const Environment& environment,
                                const DeviceInfo& device) {
  const std::optional<Family> family = FamilyOf(name);
  if (!family) {
    std::string known;
    for (const auto& entry : kNames) known += (known.empty() ? "" : ", ") + std::string(entry.name);
    return NotFound(std::string(kName) + " '" + std::string(name) +
                    "' is not one of vLLM's names (" + known +
                    "); Tessera's own go into TESSERA_ATTENTION_BACKEND");
  }
  if (device.kind == DeviceKind::kHip) return ChooseOnAmd(name, *family, environment, device);
  TESSERA_ASSIGN_OR_RETURN(VllmChoice choice, ChooseElsewhere(name, *family, device));
  WarnOfSwitches(environment, device, &choice);
  return choice;
}

}  // namespace tessera
