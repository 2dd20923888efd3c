// tessera serve: the OpenAI protocol over HTTP.
#include <fmt/format.h>
#include <poll.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/exit_code.h"
#include "cli/text.h"
#include "cli/version.h"
#include "server/api_handler.h"
#include "server/http/http_server.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kKeyVariable = "TESSERA_API_KEY";
constexpr auto kDrainPoll = std::chrono::milliseconds(20);

struct ServeFlags {
  EngineFlags engine;
  std::string directory;
  std::vector<std::string> names;
  std::string generation_config = "auto";
  std::string max_request_size = "32MiB";
  std::string max_upload_memory = "512MiB";
  int port = 8000;
  int read_timeout = 60;   // seconds
  int write_timeout = 60;  // likewise
  int stream_gap = 40;     // milliseconds
  int drain_timeout = 30;  // likewise
  HttpServerOptions http;
  ApiOptions api;
};

// Each connection takes a descriptor; the usual limit of 1024 is a soft one.
void RaiseDescriptorLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

std::string NameOf(const std::string& directory) {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::weakly_canonical(directory, error);
  const std::string name = error ? "" : path.filename().string();
  return name.empty() ? directory : name;
}

std::string BaseUrl(const HttpServerOptions& http, uint16_t port) {
  const bool is_ipv6 = http.host.find(':') != std::string::npos;
  return fmt::format("http://{}:{}", is_ipv6 ? "[" + http.host + "]" : http.host, port);
}

void PrintReady(const std::string& url, const std::string& name, const Engine& engine) {
  PrintRow("ready", url + "/v1 serves " + name);
  PrintRow("try", fmt::format("curl {}/v1/completions -H 'Content-Type: application/json' -d "
                              "'{{\"model\": \"{}\", \"prompt\": \"Hello\", \"max_tokens\": 32}}'",
                              url, name));
  PrintRow("score", fmt::format("lm_eval --model local-completions --tasks gsm8k --model_args "
                                "model={},base_url={}/v1/completions,num_concurrent=64,"
                                "max_length={}",
                                name, url, engine.max_model_len()));
  PrintRow("page", url + "/ (chat, and the engine at work)");
  PrintRow("metrics", url + "/metrics");
}

// Lets running answers end, until their time is over or a second signal asks to stop at once. How
// many have not ended.
int64_t Drain(const ServeFlags& flags, ApiHandler* handler, InterruptWatch* interrupts) {
  handler->StartDraining();
  if (!flags.engine.quiet && handler->num_active() > 0) {
    PrintRow("stopping", fmt::format("{} answers under way get {} s; Ctrl-C again stops at once",
                                     handler->num_active(), flags.drain_timeout));
  }
  const Clock::time_point end = Clock::now() + std::chrono::seconds(flags.drain_timeout);
  while (handler->num_active() > 0 && Clock::now() < end && !interrupts->Take()) {
    std::this_thread::sleep_for(kDrainPoll);
  }
  return handler->num_active();
}

// To stderr: "2026-11-23T07:36:54Z LINE".
void PrintLogLine(const std::string& line) {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 32> time;
  std::strftime(time.data(), time.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  const std::string text = fmt::format("{} {}\n", time.data(), line);
  std::fwrite(text.data(), 1, text.size(), stderr);
}

// Returns when an interrupt asks for the end: "". Or when no step can succeed any more: why.
std::string WatchDevice(const Engine& engine, InterruptWatch* interrupts) {
  const int64_t max_model_len = engine.max_model_len();
  bool was_lost = false, took_over = false;
  while (!interrupts->Take()) {
    const EngineStats stats = engine.stats();
    if (!stats.device_error.empty()) return stats.device_error;
    if (!stats.lost_device.empty() && !std::exchange(was_lost, true)) {
      PrintLogLine("the device was lost, and the fallback device loads the model: " +
                   stats.lost_device);
    }
    if (stats.device_fallbacks > 0 && !std::exchange(took_over, true)) {
      std::string line = "the fallback device has taken over: " + stats.device;
      if (engine.max_model_len() < max_model_len) {
        line += fmt::format("; requests are lowered from {} to {} tokens, which its KV cache holds",
                            max_model_len, engine.max_model_len());
      }
      PrintLogLine(line);
    }
    pollfd wait{interrupts->descriptor(), POLLIN, 0};
    poll(&wait, 1, /*timeout=*/1000);
  }
  return "";
}

// The values that their types do not bound.
Status CompleteOptions(ServeFlags* flags) {
  TESSERA_ASSIGN_OR_RETURN(const int64_t max_request, ParseBytes(flags->max_request_size));
  TESSERA_ASSIGN_OR_RETURN(const int64_t max_upload, ParseBytes(flags->max_upload_memory));
  flags->http.max_body_bytes = static_cast<uint64_t>(max_request);
  flags->http.max_body_bytes_in_all = static_cast<uint64_t>(max_upload);
  flags->http.port = static_cast<uint16_t>(flags->port);
  flags->api.stream_gap = std::chrono::milliseconds(flags->stream_gap);
  flags->http.body_timeout = std::chrono::seconds(flags->read_timeout);
  flags->http.write_timeout = std::chrono::seconds(flags->write_timeout);
  const char* const key = std::getenv(kKeyVariable);
  std::vector<std::string>& keys = flags->api.api_keys;
  if (keys.empty() && key != nullptr) keys.emplace_back(key);
  if (std::find(keys.begin(), keys.end(), "") != keys.end()) {
    return InvalidArgument(fmt::format(
        "the API key is empty, which no client can send; give --api-key or {} a value, or leave "
        "both out to let everybody in.",
        kKeyVariable));
  }
  flags->api.version = VersionText();
  flags->api.log = PrintLogLine;
  return {};
}

// What requests get that do not say how tokens are chosen.
void PrintDefaults(const GenerationDefaults& defaults) {
  std::string text;
  const auto add = [&](const char* name, const auto& value) {
    if (value) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, *value);
  };
  add("temperature", defaults.temperature);
  add("top_p", defaults.top_p);
  add("top_k", defaults.top_k);
  add("min_p", defaults.min_p);
  add("repetition_penalty", defaults.repetition_penalty);
  if (!text.empty()) PrintRow("sampling", text + " if requests do not say");
}

Result<int> Serve(ServeFlags flags) {
  if (!flags.directory.empty()) flags.engine.model = flags.directory;
  TESSERA_ASSIGN_OR_RETURN(const EngineOptions engine_options, MakeEngineOptions(flags.engine));
  TESSERA_RETURN_IF_ERROR(CompleteOptions(&flags));
  if (flags.names.empty()) flags.names = {NameOf(engine_options.model_directory)};
  RaiseDescriptorLimit();

  InterruptWatch interrupts(InterruptWatch::Signals::kInterruptAndTerminate);
  // Each is used by those below it.
  ApiHandler handler(flags.api);
  std::unique_ptr<Engine> engine;
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<HttpServer> server,
                           HttpServer::Start(flags.http, &handler));
  handler.CountConnectionsBy([&server = *server] { return server.num_connections(); });
  const std::string url = BaseUrl(flags.http, server->port());
  if (!flags.engine.quiet) std::fprintf(stderr, "listening on %s\n", url.c_str());

  TESSERA_ASSIGN_OR_RETURN(
      engine,
      StartEngine(
          flags.engine, &interrupts, [&](const std::string& phase, int64_t done, int64_t total) {
            handler.SetLoading(
                phase, total > 0 ? static_cast<double>(done) / static_cast<double>(total) : -1);
          }));
  GenerationDefaults defaults;
  if (flags.generation_config == "auto") defaults = engine->model().config().generation;
  if (!flags.engine.quiet) PrintDefaults(defaults);
  handler.SetModel(std::make_unique<ServedModel>(engine.get(), flags.names,
                                                 engine_options.model_directory, defaults));
  if (!flags.engine.quiet) PrintReady(url, flags.names.front(), *engine);

  const std::string device_error = WatchDevice(*engine, &interrupts);
  const int64_t num_cut = Drain(flags, &handler, &interrupts);
  server->Stop();
  if (!device_error.empty()) {
    return Internal(
        "the device failed, so that the server ends; start it again, on another device with "
        "--device, or let one take over with --fallback-device: " +
        device_error);
  }
  if (num_cut > 0 && !flags.engine.quiet) {
    PrintRow("stopped", fmt::format("{} answers were cut, and their clients told so", num_cut));
  }
  const int exit_code = num_cut == 0 ? kExitOk : kExitInterrupted;
  if (engine->stats().falling_back) std::_Exit(exit_code);  // loading cannot be stopped
  return exit_code;
}

void AddServerFlags(CLI::App* command, ServeFlags* flags) {
  const auto add = [command](const char* name, auto* value, const std::string& text,
                             const char* type) {
    return command->add_option(name, *value, text)
        ->type_name(type)
        ->capture_default_str()
        ->group("Server");
  };
  const std::string lowest_rate = fmt::format("afterwards it needs {} bytes/s on the average",
                                              flags->http.min_bytes_per_second);
  add("--host", &flags->http.host,
      "Address, or name of some, to listen on; 0.0.0.0: reachable from other machines", "ADDRESS");
  add("--port", &flags->port, "Port to listen on; 0: any free one", "N")
      ->check(CLI::Range(0, 65535));
  add("--served-model-name", &flags->names,
      "What clients call the model; without it the directory's name. May be repeated", "NAME");
  add("--generation-config", &flags->generation_config,
      "How tokens are chosen if requests do not say; auto: as the model's "
      "generation_config.json "
      "recommends; none: as OpenAI has it",
      "WHICH")
      ->check(CLI::IsMember({"auto", "none"}));
  add("--api-key", &flags->api.api_keys,
      fmt::format("Clients must send this key. May be repeated. Without it {}'s", kKeyVariable),
      "KEY");
  add("--cors-origin", &flags->api.cors_origins,
      "Let pages of this origin use the server from browsers; *: of any. May be repeated",
      "ORIGIN");
  add("--max-queued-requests", &flags->api.max_queued_requests,
      "Answers that may wait for their first token, half of them for one client; more are refused "
      "with status 429",
      "N")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30));
  add("--max-logprobs", &flags->api.max_logprobs,
      "Log probabilities that a request may ask for at each token, beside the token's own", "N")
      ->check(CLI::Range(0, 1 << 20));
  add("--stream-gap", &flags->stream_gap,
      "Least time between two events of a stream while more than 64 requests are answered; tokens "
      "that come sooner share an event; 0: each has its own",
      "MS")
      ->check(CLI::Range(0, 10'000));
  add("--max-connections", &flags->http.max_connections, "Connections open at a time", "N")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  add("--max-request-size", &flags->max_request_size, "Longest request body, as 32MiB", "SIZE");
  add("--max-upload-memory", &flags->max_upload_memory,
      "Request bodies that are being received at a time; more are refused with status 503", "SIZE");
  add("--read-timeout", &flags->read_timeout,
      fmt::format("Seconds that a client may send nothing of its request's body; {}", lowest_rate),
      "N")
      ->check(CLI::Range(1, 86400));
  add("--write-timeout", &flags->write_timeout,
      fmt::format("Seconds that a client may read nothing of its answer; {}", lowest_rate), "N")
      ->check(CLI::Range(1, 86400));
  add("--io-threads", &flags->http.threads, "Threads that talk with clients", "N")
      ->check(CLI::Range(1, 64));
  add("--request-timeout", &flags->engine.request_timeout,
      "Seconds that a request may take, waiting included; 0: any time", "SECONDS")
      ->check(CLI::Range(0.0, double{kMaxTimeoutSeconds}));
  add("--drain-timeout", &flags->drain_timeout,
      "Seconds that answers under way get after Ctrl-C or SIGTERM; if some are cut, the exit "
      "code is 130",
      "N")
      ->check(CLI::Range(0, 86400));
  add("--fallback-device", &flags->engine.fallback_device,
      "If the device is lost, load the model on this one, as cpu or cuda:1, and answer the "
      "requests that wait; without it the server ends",
      "DEVICE");
  command
      ->add_flag("--log-requests", flags->api.log_requests,
                 "A line to stderr for each request, not only for those that the server failed")
      ->group("Server");
}

}  // namespace

void AddServeCommand(CLI::App* app, CommandTable* commands) {
  const auto flags = std::make_shared<ServeFlags>();
  CLI::App* command = app->add_subcommand("serve", "Serve the OpenAI protocol over HTTP");
  command
      ->add_option("directory", flags->directory,
                   "The model's directory, instead of --model; without both the embedded model")
      ->type_name("DIR");
  AddServerFlags(command, flags.get());
  AddEngineFlags(command, &flags->engine);
  (*commands)[command] = [flags] { return Finish(Serve(*flags)); };
}

}  // namespace tessera
