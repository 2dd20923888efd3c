// tessera: the command line.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/version.h"

namespace tessera {
namespace {

constexpr const char* kFooter =
    "\n`tessera COMMAND --help` explains a command's options.\n"
    "TESSERA_MODEL names the model to use instead of the embedded one.\n";

int Main(int argc, char** argv) {
  // A reader that goes away (`tessera ... | head`) is an error of the write, not the program's end.
  std::signal(SIGPIPE, SIG_IGN);

  CLI::App app{"Tessera: paged attention with pluggable backends, and an LLM engine on it",
               "tessera"};
  app.set_version_flag("--version", std::string("tessera ") + VersionText());
  app.footer(std::string(kFooter) + kExitCodeHelp);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);

  CommandTable commands;
  AddGenerateCommand(&app, &commands);
  AddChatCommand(&app, &commands);
  AddServeCommand(&app, &commands);
  AddEvalCommand(&app, &commands);
  AddVerifyCommand(&app, &commands);
  AddBackendsCommand(&app, &commands);
  AddDoctorCommand(&app, &commands);
  AddBenchCommands(&app, &commands);

  if (argc == 1) {
    std::fputs(app.help().c_str(), stdout);
    return kExitUsage;
  }
  const std::string first = argv[1];
  if (!first.starts_with('-') &&
      app.get_subcommands([&](CLI::App* command) { return command->get_name() == first; })
          .empty()) {
    std::fprintf(stderr, "tessera: there is no command '%s' (see `tessera --help`)\n", argv[1]);
    return kExitUsage;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help and --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    const auto chosen = app.get_subcommands();
    const std::string name = chosen.empty() ? "" : " " + chosen[0]->get_name();
    std::fprintf(stderr, "tessera%s: %s (see `tessera%s --help`)\n", name.c_str(), error.what(),
                 name.c_str());
    return kExitUsage;
  }
  // The innermost one, as in `bench attention`.
  const CLI::App* chosen = app.get_subcommands()[0];
  while (!chosen->get_subcommands().empty()) chosen = chosen->get_subcommands()[0];
  return commands.at(chosen)();
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  // The project's own code reports through Result; what still arrives here comes from a library,
  // or from memory that has run out.
  try {
    return tessera::Main(argc, argv);
  } catch (const std::bad_alloc&) {
    return tessera::Report(
        tessera::OutOfMemory("memory ran out; use a smaller --kv-cache-size or --batch-tokens"));
  } catch (const std::exception& error) {
    return tessera::Report(tessera::Internal(std::string("unexpected: ") + error.what()));
  }
}
