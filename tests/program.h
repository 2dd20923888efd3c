// Runs the built program as a user does.
#pragma once

#include <string>
#include <vector>

struct ProgramResult {
  int exit_code = -1;  // 128 + signal where a signal ended it
  std::string output;
  std::string errors;
};

// TESSERA_PROGRAM names the program. `environment` is put before the command as shell assignments
// ("NAME=value"); `input` is its standard input.
ProgramResult RunProgram(const std::vector<std::string>& arguments, const std::string& input = "",
                         const std::vector<std::string>& environment = {});

std::string ReadFile(const std::string& path);
void WriteFile(const std::string& path, const std::string& content);

// The root of the source tree.
std::string SourceDirectory();
