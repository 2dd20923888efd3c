// AMD's code objects: ELF files with kernels, as clang makes them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "tessera/result.h"

namespace tessera::gfx942 {

// What a kernel's descriptor says.
struct KernelFacts {
  uint64_t entry = 0;  // an address of the object's own
  uint64_t size = 0;   // of its code
  int64_t lds_bytes = 0;
  int64_t argument_bytes = 0;
  int vectors = 0;       // registers
  int accumulators = 0;  // more of them: a0 and on
  int user_scalars = 0;  // before the workgroup's number
  bool argument_pointer = false;
  bool workgroup_id[3] = {};
};

class CodeObject {
 public:
  // Copies `bytes`. Fails if they are no code object of gfx942.
  static Result<CodeObject> Read(std::span<const unsigned char> bytes);

  // Fails if there is no such kernel, or it needs what the interpreter has not: scratch memory.
  Result<KernelFacts> Find(const std::string& name) const;
  // The object as it lies in memory: address a of its own is at image()[a].
  std::span<const unsigned char> image() const { return {image_.get(), image_bytes_}; }

 private:
  struct Symbol {
    uint64_t address = 0;
    uint64_t size = 0;
  };
  std::unique_ptr<unsigned char[]> image_;
  size_t image_bytes_ = 0;
  std::map<std::string, Symbol> symbols_;
};

}  // namespace tessera::gfx942
