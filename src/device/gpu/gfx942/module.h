// A code object and its listing, of which kernels are decoded as they are asked for.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "device/gpu/gfx942/code_object.h"
#include "device/gpu/gfx942/instruction.h"

namespace tessera::gfx942 {

struct Kernel {
  std::string name;
  KernelFacts facts;
  std::vector<Instruction> code;        // and one more, which no kernel reaches
  std::vector<std::string_view> texts;  // of the code
  uint64_t image = 0;                   // where address 0 of the code object lies
  uint64_t image_bytes = 0;
};

class Module {
 public:
  // `listing`: what `llvm-objdump-19 -d` writes of the code object.
  static Result<std::unique_ptr<Module>> Load(std::span<const unsigned char> code,
                                              std::string listing);

  // Fails, with a sentence, if there is no such kernel, or if it has an instruction that is not
  // known. The kernel lives as long as the module. Not thread-safe.
  Result<const Kernel*> Find(const std::string& name);
  std::vector<std::string> KernelNames() const;

 private:
  struct Label {
    uint64_t address = 0;
    size_t text = 0;  // where the line after it begins
  };

  Module(CodeObject object, std::string listing)
      : object_(std::move(object)), listing_(std::move(listing)) {}
  Result<std::unique_ptr<Kernel>> DecodeKernel(const std::string& name);
  bool TargetOf(std::string_view text, uint64_t* address) const;

  CodeObject object_;
  const std::string listing_;
  std::map<std::string, Label, std::less<>> labels_;
  std::map<std::string, std::unique_ptr<Kernel>> kernels_;
};

}  // namespace tessera::gfx942
