#include "cli/exit_code.h"

#include <cstdio>

namespace tessera {

const char* const kExitCodeHelp =
    "Exit codes: 0 done; 1 a check failed; 2 wrong usage or a value out of range; 3 not found;\n"
    "4 corrupt file; 5 unsupported; 6 out of memory; 7 input/output error; 8 internal error;\n"
    "130 interrupted.";

int ExitCodeOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return kExitUsage;
    case ErrorCode::kNotFound:
      return kExitNotFound;
    case ErrorCode::kUnsupported:
      return kExitUnsupported;
    case ErrorCode::kCorrupt:
      return kExitCorrupt;
    case ErrorCode::kOutOfMemory:
      return kExitOutOfMemory;
    case ErrorCode::kIo:
      return kExitIo;
    case ErrorCode::kInternal:
      return kExitInternal;
  }
  return kExitInternal;
}

int Report(const Error& error) {
  std::fprintf(stderr, "tessera: %s\n", error.message.c_str());
  return ExitCodeOf(error.code);
}

int Finish(const Result<int>& result) { return result.ok() ? *result : Report(result.error()); }

}  // namespace tessera
