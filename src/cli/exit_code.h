// What the program's exit code says. docs and `tessera --help` print the same table.
#pragma once

#include "tessera/result.h"

namespace tessera {

enum ExitCode : int {
  kExitOk = 0,
  kExitCheckFailed = 1,  // the program worked, and what it checked is wrong
  kExitUsage = 2,        // unknown options, values out of range
  kExitNotFound = 3,
  kExitCorrupt = 4,
  kExitUnsupported = 5,
  kExitOutOfMemory = 6,
  kExitIo = 7,
  kExitInternal = 8,
  kExitInterrupted = 130,  // Ctrl-C: 128 + SIGINT, as shells have it
};

// One line a code, for the help text.
extern const char* const kExitCodeHelp;

int ExitCodeOf(ErrorCode code);

// Prints "tessera: MESSAGE" to stderr and returns the error's exit code.
int Report(const Error& error);

// What a command returns: the exit code that it found, or its error's, reported.
int Finish(const Result<int>& result);

}  // namespace tessera
