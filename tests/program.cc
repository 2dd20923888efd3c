#include "program.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace {

std::string Quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

void WriteFile(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

std::string SourceDirectory() {
  const char* root = std::getenv("TESSERA_SOURCE_DIR");
  return root != nullptr ? root : ".";
}

ProgramResult RunProgram(const std::vector<std::string>& arguments, const std::string& input,
                         const std::vector<std::string>& environment) {
  const std::string base =
      (std::filesystem::temp_directory_path() / ("tessera-test-" + std::to_string(getpid())))
          .string();
  WriteFile(base + ".in", input);
  std::string command = "env ";
  for (const std::string& assignment : environment) command += Quoted(assignment) + " ";
  command += Quoted(std::getenv("TESSERA_PROGRAM"));
  for (const std::string& argument : arguments) command += " " + Quoted(argument);
  command +=
      " <" + Quoted(base + ".in") + " >" + Quoted(base + ".out") + " 2>" + Quoted(base + ".err");
  const int status = std::system(command.c_str());
  ProgramResult result;
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.output = ReadFile(base + ".out");
  result.errors = ReadFile(base + ".err");
  for (const char* suffix : {".in", ".out", ".err"}) std::filesystem::remove(base + suffix);
  return result;
}
