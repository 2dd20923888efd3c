// The commands. Each adds its options to the program and says what runs them.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <map>

namespace tessera {

// What runs each command; returns the exit code.
using CommandTable = std::map<const CLI::App*, std::function<int()>>;

void AddGenerateCommand(CLI::App* app, CommandTable* commands);
void AddChatCommand(CLI::App* app, CommandTable* commands);
void AddServeCommand(CLI::App* app, CommandTable* commands);
void AddEvalCommand(CLI::App* app, CommandTable* commands);
void AddVerifyCommand(CLI::App* app, CommandTable* commands);
void AddBackendsCommand(CLI::App* app, CommandTable* commands);
void AddBenchCommands(CLI::App* app, CommandTable* commands);
void AddDoctorCommand(CLI::App* app, CommandTable* commands);

// Subcommands of `bench`.
void AddBenchAttentionCommand(CLI::App* bench, CommandTable* commands);
void AddBenchServeCommand(CLI::App* bench, CommandTable* commands);
void AddBenchStepsCommand(CLI::App* bench, CommandTable* commands);
void AddBenchEngineCommand(CLI::App* bench, CommandTable* commands);
void AddBenchPrefixCommand(CLI::App* bench, CommandTable* commands);
void AddBenchSpeculationCommand(CLI::App* bench, CommandTable* commands);

}  // namespace tessera
