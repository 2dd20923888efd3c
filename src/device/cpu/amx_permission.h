// AMX's tile registers are large, so Linux grants them to a process only when it asks.
#pragma once

namespace tessera {

// Whether the CPU has AMX for bfloat16 and the system lets this process use its registers from now
// on. Asking again costs a system call and changes nothing. Thread-safe.
bool RequestAmx();

}  // namespace tessera
