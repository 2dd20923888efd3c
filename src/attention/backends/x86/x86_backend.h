// The backend of x86-64 CPUs with AVX-512: its own kernels, where they are faster than the portable
// one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tessera/backend.h"
#include "tessera/result.h"

namespace tessera {

struct X86Options {
  // "avx512", "avx512_bf16" or "amx".
  std::string family;
};

// For tests and measurements: with a family of one's choice, or the reason why this machine cannot
// run it. Otherwise the registry creates it.
Result<std::unique_ptr<Backend>> CreateX86Backend(const BackendContext& context,
                                                  const X86Options& options);

// All families that this version has, whether or not the machine can run them.
std::vector<std::string> X86Families();

}  // namespace tessera
