// tessera generate: one prompt, one answer.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/exit_code.h"
#include "cli/request.h"
#include "cli/sampling_flags.h"
#include "cli/text.h"
#include "text/tokenizer/tokenizer.h"

namespace tessera {
namespace {

struct GenerateFlags {
  EngineFlags engine;
  SamplingParams sampling = CommandLineSampling();
  std::string prompt;
  std::string prompt_file;
  std::string system;
  bool chat = false;
  bool json = false;
  int32_t logprobs = -1;
};

// Text that may hold broken UTF-8 (a token can be a part of a character) as JSON.
std::string Dump(const nlohmann::ordered_json& value, int indent) {
  return value.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string Quoted(const Tokenizer& tokenizer, int32_t token) {
  return Dump(tokenizer.TokenBytes(token), -1);
}

nlohmann::ordered_json ToJson(const Tokenizer& tokenizer, const TokenLogprob& entry) {
  nlohmann::ordered_json json = {{"id", entry.token},
                                 {"text", tokenizer.TokenBytes(entry.token)},
                                 {"logprob", entry.logprob},
                                 {"rank", entry.rank}};
  json["top"] = nlohmann::ordered_json::array();
  for (const auto& [token, logprob] : entry.top) {
    json["top"].push_back(
        {{"id", token}, {"text", tokenizer.TokenBytes(token)}, {"logprob", logprob}});
  }
  return json;
}

void PrintJson(const Tokenizer& tokenizer, const Completion& completion) {
  nlohmann::ordered_json json = {{"text", completion.text},
                                 {"finish_reason", ToString(completion.finish)},
                                 {"prompt_tokens", completion.prompt_tokens},
                                 {"output_tokens", completion.output_tokens},
                                 {"tokens", completion.tokens},
                                 {"first_token_seconds", completion.first_token_seconds},
                                 {"seconds", completion.seconds}};
  if (!completion.logprobs.empty()) {
    json["logprobs"] = nlohmann::ordered_json::array();
    for (const TokenLogprob& entry : completion.logprobs) {
      json["logprobs"].push_back(ToJson(tokenizer, entry));
    }
  }
  std::printf("%s\n", Dump(json, 2).c_str());
}

void PrintLogprobs(const Tokenizer& tokenizer, const Completion& completion) {
  for (const TokenLogprob& entry : completion.logprobs) {
    std::string line = fmt::format("{:<16} {:9.4f}  rank {}", Quoted(tokenizer, entry.token),
                                   entry.logprob, entry.rank);
    for (const auto& [token, logprob] : entry.top) {
      line += fmt::format("  {} {:.4f}", Quoted(tokenizer, token), logprob);
    }
    std::printf("%s\n", line.c_str());
  }
}

Result<std::string> PromptText(const GenerateFlags& flags) {
  if (!flags.prompt_file.empty()) return ReadTextFile(flags.prompt_file);
  return flags.prompt;
}

Result<std::vector<int32_t>> EncodePrompt(const GenerateFlags& flags, const Tokenizer& tokenizer,
                                          const std::string& text) {
  if (!flags.chat) return tokenizer.Encode(text);
  auto messages = nlohmann::ordered_json::array();
  if (!flags.system.empty()) messages.push_back({{"role", "system"}, {"content", flags.system}});
  messages.push_back({{"role", "user"}, {"content", text}});
  return EncodeChat(tokenizer, Dump(messages, -1));
}

Result<int> Generate(const GenerateFlags& flags) {
  TESSERA_ASSIGN_OR_RETURN(const std::string text, PromptText(flags));
  InterruptWatch interrupts;
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                           StartEngine(flags.engine, &interrupts));
  TESSERA_ASSIGN_OR_RETURN(const Tokenizer* tokenizer, RequireTokenizer(*engine));

  Request request;
  TESSERA_ASSIGN_OR_RETURN(request.prompt, EncodePrompt(flags, *tokenizer, text));
  request.sampling = flags.sampling;
  if (flags.logprobs >= 0) request.sampling.logprobs = flags.logprobs;

  const auto stream = [&](const std::string& piece) {
    if (flags.json) return true;
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    return std::fflush(stdout) == 0;
  };
  TESSERA_ASSIGN_OR_RETURN(const Completion completion,
                           RunRequest(engine.get(), std::move(request), &interrupts, stream));
  if (flags.json) {
    PrintJson(*tokenizer, completion);
  } else {
    if (!completion.text.ends_with('\n')) std::printf("\n");
    PrintLogprobs(*tokenizer, completion);
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    return IoError("standard output was closed before the answer was complete");
  }
  if (!flags.engine.quiet && !flags.json) {
    const double decode = completion.seconds - completion.first_token_seconds;
    std::fprintf(stderr, "  %d prompt tokens, first token after %s; %d tokens, %s/s; end: %s\n",
                 completion.prompt_tokens, FormatSeconds(completion.first_token_seconds).c_str(),
                 completion.output_tokens,
                 FormatRate(decode > 0 ? (completion.output_tokens - 1) / decode : 0).c_str(),
                 ToString(completion.finish));
  }
  return completion.finish == FinishReason::kCancelled ? kExitInterrupted : kExitOk;
}

}  // namespace

void AddGenerateCommand(CLI::App* app, CommandTable* commands) {
  const auto flags = std::make_shared<GenerateFlags>();
  CLI::App* command = app->add_subcommand("generate", "Answer one prompt");
  CLI::Option_group* prompt = command->add_option_group("Prompt", "One of these is needed");
  prompt->add_option("-p,--prompt", flags->prompt, "The prompt")->type_name("TEXT");
  prompt
      ->add_option("--prompt-file", flags->prompt_file, "A file with the prompt; -: standard input")
      ->type_name("FILE");
  prompt->require_option(1);
  CLI::Option* chat = command
                          ->add_flag("--chat", flags->chat,
                                     "The prompt is a user's message: apply the chat template")
                          ->group("Input");
  command->add_option("--system", flags->system, "System message, with --chat")
      ->type_name("TEXT")
      ->needs(chat)
      ->group("Input");
  AddEngineFlags(command, &flags->engine);
  AddSamplingFlags(command, &flags->sampling);
  command
      ->add_option("--logprobs", flags->logprobs,
                   "Print each token's log probability and this many alternatives")
      ->check(CLI::Range(0, 100))
      ->type_name("N")
      ->group("Output");
  command->add_flag("--json", flags->json, "One JSON object instead of text")->group("Output");
  (*commands)[command] = [flags] { return Finish(Generate(*flags)); };
}

}  // namespace tessera
