// tessera chat: a conversation on the terminal.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/exit_code.h"
#include "cli/line_reader.h"
#include "cli/request.h"
#include "cli/sampling_flags.h"

namespace tessera {
namespace {

struct ChatFlags {
  EngineFlags engine;
  SamplingParams sampling = CommandLineSampling();
  std::string system;
};

class Conversation {
 public:
  explicit Conversation(std::string system) : system_(std::move(system)) { Reset(); }

  void Reset() {
    messages_ = nlohmann::ordered_json::array();
    if (!system_.empty()) Add("system", system_);
  }
  void Add(const char* role, const std::string& content) {
    messages_.push_back({{"role", role}, {"content", content}});
  }
  void TakeBack() { messages_.erase(messages_.size() - 1); }

  // Bytes that are no UTF-8 become U+FFFD.
  std::string Json() const {
    return messages_.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  }

 private:
  std::string system_;
  nlohmann::ordered_json messages_;
};

// One turn: the answer to the conversation's last message, streamed to stdout.
Result<Completion> Answer(const ChatFlags& flags, const Conversation& conversation, Engine* engine,
                          const Tokenizer& tokenizer, InterruptWatch* interrupts) {
  Request request;
  TESSERA_ASSIGN_OR_RETURN(request.prompt, EncodeChat(tokenizer, conversation.Json()));
  request.sampling = flags.sampling;
  return RunRequest(engine, std::move(request), interrupts, [](const std::string& piece) {
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    return std::fflush(stdout) == 0;
  });
}

Result<int> Chat(const ChatFlags& flags) {
  InterruptWatch interrupts;
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                           StartEngine(flags.engine, &interrupts));
  TESSERA_ASSIGN_OR_RETURN(const Tokenizer* tokenizer, RequireTokenizer(*engine));

  const bool terminal = isatty(STDIN_FILENO) == 1;
  if (terminal && !flags.engine.quiet) {
    std::fputs("Ctrl-C stops an answer. /reset starts again, /exit ends.\n", stderr);
  }
  Conversation conversation(flags.system);
  LineReader reader(&interrupts);
  std::string line;
  while (true) {
    if (terminal) {
      std::fputs("\n> ", stderr);
    }
    const LineReader::Outcome outcome = reader.Next(&line);
    if (outcome == LineReader::Outcome::kInterrupted) return kExitInterrupted;
    if (outcome == LineReader::Outcome::kEnd || line == "/exit") return kExitOk;
    if (line.empty()) continue;
    if (line == "/reset") {
      conversation.Reset();
      continue;
    }
    if (line.starts_with('/')) {
      std::fprintf(stderr, "tessera: unknown command %s; there are /reset and /exit\n",
                   line.c_str());
      continue;
    }
    conversation.Add("user", line);
    const auto answer = Answer(flags, conversation, engine.get(), *tokenizer, &interrupts);
    if (!answer.ok()) {
      // What a turn can do wrong, another turn may do right; without a terminal nobody tries again.
      const int code = Report(answer.error());
      if (!terminal) return code;
      conversation.TakeBack();
      continue;
    }
    std::printf("\n");
    if (std::fflush(stdout) != 0) return IoError("standard output was closed");
    conversation.Add("assistant", answer->text);
  }
}

}  // namespace

void AddChatCommand(CLI::App* app, CommandTable* commands) {
  const auto flags = std::make_shared<ChatFlags>();
  CLI::App* command = app->add_subcommand("chat", "Talk with the model on the terminal");
  command->add_option("--system", flags->system, "System message")
      ->type_name("TEXT")
      ->group("Input");
  AddEngineFlags(command, &flags->engine);
  AddSamplingFlags(command, &flags->sampling);
  (*commands)[command] = [flags] { return Finish(Chat(*flags)); };
}

}  // namespace tessera
