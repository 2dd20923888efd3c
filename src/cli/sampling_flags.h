// The options that say how tokens are chosen and when an answer ends.
#pragma once

#include <CLI/CLI.hpp>

#include "engine/sampling_params.h"

namespace tessera {

// The command line's own defaults: greedy, at most 256 tokens.
SamplingParams CommandLineSampling();

// Adds them to `command` in the group "Sampling"; the engine checks the values' ranges.
void AddSamplingFlags(CLI::App* command, SamplingParams* params);

}  // namespace tessera
