#include "model/families/families.h"

namespace tessera {
namespace {

constexpr Family kFamilies[] = {
    {"LlamaForCausalLM", true, false, &LlamaLayerSpecs, &DescribeLlama},
    {"MistralForCausalLM", false, true, &LlamaLayerSpecs, &DescribeLlama},
};

}  // namespace

std::span<const Family> Families() { return kFamilies; }

const Family* FindFamily(std::string_view architecture) {
  for (const Family& family : kFamilies) {
    if (architecture == family.architecture) return &family;
  }
  return nullptr;
}

}  // namespace tessera
