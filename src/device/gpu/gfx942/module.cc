#include "device/gpu/gfx942/module.h"

#include <algorithm>
#include <charconv>

#include "device/gpu/gfx942/listing.h"
#include "device/gpu/gfx942/opcode_table.h"

namespace tessera::gfx942 {
namespace {

bool ParseHexadecimal(std::string_view text, uint64_t* value) {
  const auto end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, *value, 16);
  return result.ec == std::errc() && result.ptr == end;
}

std::string_view LineAt(std::string_view text, size_t begin) {
  return text.substr(begin, text.find('\n', begin) - begin);
}

void RunPastEnd(Wave&, const Instruction&) { throw Fault{"the code runs past the kernel's end"}; }

}  // namespace

Result<std::unique_ptr<Module>> Module::Load(std::span<const unsigned char> code,
                                             std::string listing_text) {
  TESSERA_ASSIGN_OR_RETURN(CodeObject object, CodeObject::Read(code));
  std::unique_ptr<Module> module(new Module(std::move(object), std::move(listing_text)));
  const std::string_view listing = module->listing_;
  // "0000000000002a00 <norm>:"
  for (size_t at = 0; at < listing.size();) {
    const std::string_view line = LineAt(listing, at);
    at += line.size() + 1;
    if (line.size() < 20 || !line.ends_with(">:") || line.substr(16, 2) != " <") continue;
    Label label{0, at};
    if (!ParseHexadecimal(line.substr(0, 16), &label.address)) continue;
    module->labels_.emplace(line.substr(18, line.size() - 20), label);
  }
  if (module->labels_.empty()) {
    return Corrupt("the code object's listing names no kernel: it is no output of llvm-objdump -d");
  }
  return module;
}

std::vector<std::string> Module::KernelNames() const {
  std::vector<std::string> names;
  for (const auto& [name, label] : labels_) {
    if (object_.Find(name).ok()) names.push_back(name);
  }
  return names;
}

Result<const Kernel*> Module::Find(const std::string& name) {
  std::unique_ptr<Kernel>& kernel = kernels_[name];
  if (kernel == nullptr) {
    TESSERA_ASSIGN_OR_RETURN(kernel, DecodeKernel(name));
  }
  return static_cast<const Kernel*>(kernel.get());
}

bool Module::TargetOf(std::string_view text, uint64_t* address) const {
  const size_t plus = text.rfind("+0x");
  const auto label = labels_.find(text.substr(0, plus));
  if (label == labels_.end()) return false;
  uint64_t distance = 0;
  if (plus != std::string_view::npos && !ParseHexadecimal(text.substr(plus + 3), &distance)) {
    return false;
  }
  *address = label->second.address + distance;
  return true;
}

Result<std::unique_ptr<Kernel>> Module::DecodeKernel(const std::string& name) {
  auto kernel = std::make_unique<Kernel>();
  kernel->name = name;
  TESSERA_ASSIGN_OR_RETURN(kernel->facts, object_.Find(name));
  kernel->image = reinterpret_cast<uint64_t>(object_.image().data());
  kernel->image_bytes = object_.image().size();
  const uint64_t begin = kernel->facts.entry, end = begin + kernel->facts.size;
  const auto label = labels_.find(name);
  if (label == labels_.end() || label->second.address != begin) {
    return Corrupt("the listing is of another code object: it has kernel '" + name +
                   "' at another place or not at all");
  }
  std::vector<std::pair<size_t, uint64_t>> branches;  // instruction, target
  for (size_t at = label->second.text; at < listing_.size();) {
    const std::string_view line = LineAt(listing_, at);
    at += line.size() + 1;
    uint64_t address = 0;
    if (!AddressOf(line, &address)) continue;
    if (address >= end) break;
    TESSERA_ASSIGN_OR_RETURN(const ParsedLine parsed, ParseInstruction(line));
    TESSERA_ASSIGN_OR_RETURN(const Instruction instruction, Decode(parsed));
    if (parsed.name.starts_with("s_branch") || parsed.name.starts_with("s_cbranch")) {
      uint64_t target = 0;
      if (!TargetOf(parsed.target, &target)) {
        return Unsupported("the gfx942 interpreter does not know where '" +
                           std::string(parsed.text) + "' of kernel '" + name + "' goes");
      }
      branches.emplace_back(kernel->code.size(), target);
    }
    kernel->code.push_back(instruction);
    kernel->texts.push_back(parsed.text);
  }
  if (kernel->code.empty()) return Corrupt("the listing of kernel '" + name + "' is empty");
  for (const auto& [from, target] : branches) {
    const auto found = std::lower_bound(
        kernel->code.begin(), kernel->code.end(), target,
        [](const Instruction& i, uint64_t address) { return i.address < address; });
    if (found == kernel->code.end() || found->address != target) {
      return Unsupported("the gfx942 interpreter cannot leave kernel '" + name + "' as '" +
                         std::string(kernel->texts[from]) + "' does");
    }
    kernel->code[from].target = static_cast<int32_t>(found - kernel->code.begin());
  }
  kernel->code.push_back({.run = RunPastEnd});
  kernel->texts.emplace_back("the end");
  return kernel;
}

}  // namespace tessera::gfx942
