// Which cores threads may run on.
#pragma once

#include <vector>

namespace tessera {

// The cores that the calling thread may run on, in ascending order; never empty. A thread that has
// not been pinned has the mask of its process (as taskset, a container or a job scheduler set it).
std::vector<int> AllowedCores();

// How many threads of work this process may keep running: its allowed cores, or fewer if a
// control group's quota grants less time than that (rounded up). At least 1.
int UsableCoreCount();

// Restricts the calling thread to one core. False if the system refuses; the thread then runs
// where it did before.
bool PinThisThread(int core);

}  // namespace tessera
