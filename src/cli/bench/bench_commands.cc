// tessera bench: the commands that measure.
#include "cli/commands.h"

namespace tessera {

void AddBenchCommands(CLI::App* app, CommandTable* commands) {
  CLI::App* bench = app->add_subcommand("bench", "Measure, beside what this machine allows");
  bench->require_subcommand(1);
  AddBenchAttentionCommand(bench, commands);
  AddBenchServeCommand(bench, commands);
  AddBenchEngineCommand(bench, commands);
  AddBenchStepsCommand(bench, commands);
  AddBenchPrefixCommand(bench, commands);
  AddBenchSpeculationCommand(bench, commands);
}

}  // namespace tessera
